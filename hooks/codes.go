package hooks

import (
	"github.com/mochi-mqtt/server/v2/packets"

	"kith/broker"
	"kith/broker/edge"
)

// reasons is how one refusal of spec 10 is told over MQTT.
type reasons struct {
	connack   byte // CONNACK, MQTT 5
	connack3  byte // CONNACK, MQTT 3.1.1
	publish   byte // PUBACK and PUBREC: stock parsers take only 0x80, 0x83, 0x87, 0x90, 0x91, 0x97 and 0x99 there
	subscribe byte // SUBACK
}

var refusals = map[broker.Code]reasons{
	broker.AppNotFound:     {0x86, 4, 0x87, 0x87},
	broker.SignatureFailed: {0x87, 5, 0x87, 0x87},
	broker.InvalidPeer:     {0x85, 2, 0x87, 0x87},
	broker.Banned:          {0x8A, 5, 0x87, 0x87},
	broker.MessageTooLong:  {0x97, 5, 0x97, 0x97},
	broker.LimitExceeded:   {0x97, 5, 0x97, 0x97},
	broker.Malformed:       {0x99, 4, 0x99, 0x87},
	broker.RateLimited:     {0x9F, 3, 0x97, 0x97},
	broker.Unauthorized:    {0x87, 5, 0x87, 0x87},
	broker.Forbidden:       {0x87, 5, 0x87, 0x87},
	broker.Internal:        {0x88, 3, 0x83, 0x83},
	broker.GroupNotFound:   {0x87, 5, 0x87, 0x87},
	broker.GroupFull:       {0x97, 5, 0x97, 0x97},
	broker.RejectedByApp:   {0x87, 5, 0x87, 0x87},
	broker.NotAMember:      {0x87, 5, 0x87, 0x87},
	broker.InvalidTarget:   {0x87, 5, 0x87, 0x87},
}

// busy is how a node tells that it, and not the client, is in trouble.
var busy = reasons{0x89, 3, 0x83, 0x83}

// elsewhere is how a node that is drained tells that another takes the client.
var elsewhere = reasons{faultMoved.code, 3, 0x83, 0x83}

func reasonsOf(e *broker.Error) reasons {
	switch {
	case edge.IsBusy(e):
		return busy
	case e == broker.ErrDraining:
		return elsewhere
	}
	if r, ok := refusals[e.Code]; ok {
		return r
	}
	return reasons{0x80, 5, 0x80, 0x80}
}

// subackCode is the reason code of one filter. MQTT 3.1.1 knows one refusal [MQTT-3.9.3-2].
func subackCode(version byte, code byte) byte {
	if version < 5 && code >= 0x80 {
		return packets.ErrUnspecifiedError.Code
	}
	return code
}

// closeCodes are the DISCONNECT reason codes by which the server ends a connection.
var closeCodes = map[broker.CloseReason]*fault{
	broker.CloseTakenOver: {0x8E, "the same client id connected again"},
	broker.CloseKicked:    {0x98, "disconnected by an operator"},
	broker.CloseShutdown:  {0x8B, "the server stops"},
	broker.CloseStoreAway: {0x83, "a publish was held too long; send it again"},
	broker.CloseMoved:     faultMoved,
}

// faultOfClose is what a client is told of a close. One that is moved is told where to, where the settings name that.
func (s *Server) faultOfClose(why broker.CloseReason) *fault {
	if why == broker.CloseMoved && s.reference != "" {
		return faultMovedTo
	}
	return closeCodes[why]
}
