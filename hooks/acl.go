package hooks

import (
	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// answer is what the broker said to a SUBSCRIBE or UNSUBSCRIBE that is in the engine's hands.
type answer struct {
	codes   []byte                // of all filters, in the packet's order [MQTT-3.8.4-6] [MQTT-3.11.3-1]
	reason  string                // of the first refusal
	filters packets.Subscriptions // those that the engine's index concerns: granted, under {app}/topic/
}

// aclHook is the one hook that authorises. The broker has judged a SUBSCRIBE before the engine sees it; the hook shows the engine only
// the filters for its index, and puts the broker's answers into SUBACK and UNSUBACK. Writing is always allowed: the rules are
// applied at publish.
type aclHook struct{ mqtt.HookBase }

// ID names the hook to the engine.
func (h *aclHook) ID() string { return "kith-acl" }

// Provides says which calls the hook wants.
func (h *aclHook) Provides(b byte) bool {
	switch b {
	case mqtt.OnACLCheck, mqtt.OnSubscribe, mqtt.OnUnsubscribe, mqtt.OnPacketEncode:
		return true
	}
	return false
}

// OnACLCheck grants reading only to the filters that the broker granted.
func (h *aclHook) OnACLCheck(cl *mqtt.Client, _ string, write bool) bool {
	return write || answerOf(cl) != nil
}

// OnSubscribe leaves the granted filters under {app}/topic/, without retained messages, which we send, and without the
// user properties, which the engine would echo: they hold a signature.
func (h *aclHook) OnSubscribe(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	pk.Filters, pk.Properties.User = nil, nil
	if a := answerOf(cl); a != nil {
		pk.Filters = a.filters
	}
	return pk
}

// OnUnsubscribe leaves the filters that are in the index.
func (h *aclHook) OnUnsubscribe(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	return h.OnSubscribe(cl, pk)
}

// OnPacketEncode puts the broker's answers in.
func (h *aclHook) OnPacketEncode(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	if pk.FixedHeader.Type != packets.Suback && pk.FixedHeader.Type != packets.Unsuback {
		return pk
	}
	if a := answerOf(cl); a != nil {
		pk.ReasonCodes, pk.Properties.ReasonString = a.codes, a.reason
	}
	return pk
}

func answerOf(cl *mqtt.Client) *answer {
	if side, ok := cl.Net.Conn.(engineSide); ok {
		return side.c.answer
	}
	return nil
}
