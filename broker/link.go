package broker

import "time"

// Link is a session's connection as the broker sees it. Its methods are called from any goroutine, without
// locks held, and must not block.
type Link interface {
	// Wake says that Session.Next may have something. The link then calls Next from a goroutine of its own until it
	// returns nothing; a Wake during that time means that it must look once more.
	Wake()
	// Close asks the link to end the connection, telling an MQTT 5 client why. Session.End follows from the link.
	Close(why CloseReason)
}

// CloseReason says why the server ends a connection.
type CloseReason byte

// The reasons to end a connection.
const (
	CloseTakenOver CloseReason = iota // the same client id connected again: MQTT 5 0x8E
	CloseKicked                       // by an operator, or banned: 0x98
	CloseShutdown                     // the server stops: 0x8B
	CloseStoreAway                    // a publish was held too long: 0x83; the client sends it again
	CloseMoved                        // the node is drained: 0x9C or 0x9D; the client goes on at another
)

// EndReason says how a connection ended.
type EndReason byte

// How a connection can end.
const (
	EndLost           EndReason = iota // without DISCONNECT: the session is paused, the will is published
	EndDisconnect                      // DISCONNECT: the session is closed, no will
	EndDisconnectWill                  // MQTT 5 DISCONNECT with reason 0x04: closed, with the will
	EndServer                          // the server ended it (take-over, kick, shutdown)
)

// OutKind says what an Out is.
type OutKind byte

// The kinds of Out.
const (
	OutAck      OutKind = iota // answers the client's publish Tag of QoS 1 (PUBACK) or 2 (PUBREC): Err, else ID
	OutComplete                // answers the client's PUBREL Tag with PUBCOMP; Unknown tells that no such publish was open
	OutMessage                 // delivers Message on the topic of To (direct) or its group
	OutPublish                 // delivers Payload on Topic: events, replies, presence, {app}/topic/
	OutRelease                 // PUBREL for Tag: after the client's PUBREC, or again after a reconnect
)

// Out is one packet that a session wants sent. Its references are shared with other sessions and must not be changed.
type Out struct {
	Kind     OutKind
	Tag      uint16 // the packet identifier; 0 for deliveries at QoS 0
	QoS      byte
	Dup      bool
	Retain   bool
	Offline  bool // the message waited: user property offline
	Unknown  bool // OutComplete, OutRelease: reason 0x92
	Err      *Error
	ID       MessageID // OutAck: the message's id, zero when there is none to tell
	Message  *Message
	Payload  []byte // OutPublish; OutMessage of an enveloped session: sent instead of the message's payload
	To       PeerID // OutMessage, direct: whose inbox the topic names
	Topic    string
	TS       int64       // presence: user property ts (Unix milliseconds); else 0
	Props    *Properties // OutPublish: passed through; nil for none
	Wrapped  bool        // OutMessage: Payload holds the envelope
	SubIDs   []uint32    // MQTT 5 subscription identifiers to echo
	Assigned int64       // OutMessage: Unix milliseconds when the message's expiry was read, for the remaining interval
}

// expires is when the delivery expires, in Unix milliseconds; 0: never.
func (o *Out) expires() int64 {
	switch {
	case o.Message != nil:
		return o.Message.Props.Expires
	case o.Props != nil:
		return o.Props.Expires
	}
	return 0
}

// Publish is what a client publishes, or its will. The broker keeps nothing of it after Session.Publish returns.
type Publish struct {
	Topic     []byte
	Payload   []byte
	Tag       uint16 // packet identifier; 0 at QoS 0
	QoS       byte
	Dup       bool
	Retain    bool
	Transient bool   // user property transient=true
	Receipt   bool   // user property receipt=true
	SenderID  string // user property id: the sender's own
	Props     Properties
	// PropsTooLong says that the packet had more passed-through properties than a message may have (4113).
	PropsTooLong bool
}

// OpenRequest is what a CONNECT asks for (spec 2).
type OpenRequest struct {
	App        string
	ClientID   string
	Password   []byte // as presented; empty for none
	Version    byte   // MQTT protocol version: 4 or 5
	CleanStart bool
	Expiry     time.Duration // MQTT 5 session expiry; ignored for 3.1.1, whose sessions last queue.age
	// ReceiveMaximum bounds unacknowledged deliveries; 0: the server's own bound.
	ReceiveMaximum uint16
	MaximumPacket  uint32 // in bytes; 0: no bound of the client's
	Remote         string // address for history and status, without the port
	Transport      string // "tcp", "tls", "ws" or "wss", for status
	Will           *Publish
	WillDelay      time.Duration
	WillExpiry     time.Duration // the will's message expiry, from when it is published; 0: none
}

// Subscription is one filter of a SUBSCRIBE.
type Subscription struct {
	Filter            string
	QoS               byte
	NoLocal           bool
	RetainAsPublished bool
	RetainHandling    byte
	Identifier        uint32
}

// WatchProof is a signed watch list that came with a SUBSCRIBE in user properties (spec 4).
type WatchProof struct {
	Watch     string // the list, joined by ":"
	Timestamp string
	Nonce     string
	Signature string
}
