package broker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"unicode/utf8"
)

// MessageKind tells what an entry of a log is.
type MessageKind byte

const (
	// KindMessage is what a peer or an operator sent.
	KindMessage MessageKind = iota
	// KindMembership is a change of a group's members, made by the server; it is in no history.
	KindMembership
)

// Message is a persistent or transient message on its way. It is never changed after it was accepted.
type Message struct {
	ID           MessageID // given by the store; for a transient message by the broker
	App          AppID
	Kind         MessageKind
	Conversation ConversationID
	From         PeerID
	Device       DeviceID // that sent it; empty for an operator
	To           []PeerID // direct: the receivers in the order given, without repetition
	Group        GroupID  // else the group
	Payload      []byte
	Props        Properties
	QoS          byte // as published: 0, 1 or 2
	Receipt      bool // its sender wants to know when it arrived
	Transient    bool
	NoSync       bool   // not for the sender's own devices, unless the sender is a receiver
	FromIP       string // empty when unknown
	Original     string // its id where it came from, for what was imported
	openGroup    bool
	shared       atomic.Pointer[sharedForms]
	one          [1]PeerID // what To refers to for the usual single receiver
}

// sharedForms are a message's encoded forms that many sessions send.
type sharedForms struct {
	frames   [FrameSlots]atomic.Pointer[Frame]
	envelope atomic.Pointer[[]byte]
}

// Properties are the MQTT 5 publish properties that pass through from sender to receiver (spec 5).
type Properties struct {
	ContentType     string
	ResponseTopic   string
	CorrelationData []byte
	Expires         int64 // Unix milliseconds; 0: never
	TextFormat      bool  // Payload Format Indicator 1
	User            []UserProperty
}

// UserProperty is a name and value pair.
type UserProperty struct{ Name, Value string }

// Size is the bytes that count against the limit on passed-through properties (spec 5).
func (p *Properties) Size() int {
	n := len(p.ContentType) + len(p.ResponseTopic) + len(p.CorrelationData)
	for i := range p.User {
		n += len(p.User[i].Name) + len(p.User[i].Value)
	}
	return n
}

// IsText reports whether the payload is UTF-8, shown as "message" rather than "data" (spec 5, 11).
func (m *Message) IsText() bool { return utf8.Valid(m.Payload) }

// Expired reports whether the message's expiry lies before now (Unix milliseconds).
func (m *Message) Expired(now int64) bool { return m.Props.Expires != 0 && m.Props.Expires <= now }

// The stored form is a version byte, a byte of flags, and the fields in a fixed order, strings and lists with a
// length in front. The id and the app are the store's key and not repeated.
const messageVersion = 1

const (
	flagReceipt = 1 << iota
	flagTextFormat
	flagProps
	flagGroup
	flagMembership
	flagQoS2
	flagNoSync
	flagOriginal
)

var errStoredMessage = errors.New("stored message does not parse")

// AppendBinary appends the stored form of m.
func (m *Message) AppendBinary(b []byte) ([]byte, error) {
	var flags byte
	if m.Receipt {
		flags |= flagReceipt
	}
	if m.Props.TextFormat {
		flags |= flagTextFormat
	}
	hasProps := m.Props.Size() > 0 || m.Props.Expires != 0 || len(m.Props.User) > 0
	if hasProps {
		flags |= flagProps
	}
	if m.Group != "" {
		flags |= flagGroup
	}
	if m.Kind == KindMembership {
		flags |= flagMembership
	}
	if m.QoS == 2 {
		flags |= flagQoS2
	}
	if m.NoSync {
		flags |= flagNoSync
	}
	if m.Original != "" {
		flags |= flagOriginal
	}
	b = append(b, messageVersion, flags)
	b = appendField(b, string(m.From))
	b = appendField(b, string(m.Device))
	b = appendField(b, m.FromIP)
	if m.Group != "" {
		b = appendField(b, string(m.Group))
	} else {
		b = binary.AppendUvarint(b, uint64(len(m.To)))
		for _, p := range m.To {
			b = appendField(b, string(p))
		}
	}
	if hasProps {
		b = appendField(b, m.Props.ContentType)
		b = appendField(b, m.Props.ResponseTopic)
		b = appendField(b, m.Props.CorrelationData)
		b = binary.AppendUvarint(b, uint64(m.Props.Expires)) //nolint:gosec // not negative
		b = binary.AppendUvarint(b, uint64(len(m.Props.User)))
		for i := range m.Props.User {
			b = appendField(b, m.Props.User[i].Name)
			b = appendField(b, m.Props.User[i].Value)
		}
	}
	if m.Original != "" {
		b = appendField(b, m.Original)
	}
	return appendField(b, m.Payload), nil
}

// UnmarshalBinary parses the stored form. It leaves ID and App alone and keeps no reference to b.
func (m *Message) UnmarshalBinary(b []byte) error {
	if len(b) < 2 {
		return errStoredMessage
	}
	if b[0] != messageVersion {
		return fmt.Errorf("stored message of version %d: %w", b[0], errStoredMessage)
	}
	flags := b[1]
	r := fieldReader{b: b[2:]}
	m.Receipt = flags&flagReceipt != 0
	m.NoSync = flags&flagNoSync != 0
	m.Props = Properties{TextFormat: flags&flagTextFormat != 0}
	m.Kind, m.QoS = KindMessage, 1
	if flags&flagMembership != 0 {
		m.Kind = KindMembership
	}
	if flags&flagQoS2 != 0 {
		m.QoS = 2
	}
	m.From = PeerID(r.text())
	m.Device = DeviceID(r.text())
	m.FromIP = r.text()
	m.To, m.Group = nil, ""
	if flags&flagGroup != 0 {
		m.Group = GroupID(r.text())
		m.Conversation = ConversationID(m.Group)
	} else {
		for range r.count() {
			m.To = append(m.To, PeerID(r.text()))
		}
		m.Conversation = DirectConversation(append(slices.Clone(m.To), m.From)...)
	}
	if flags&flagProps != 0 {
		m.Props.ContentType = r.text()
		m.Props.ResponseTopic = r.text()
		if c := r.bytes(); len(c) > 0 {
			m.Props.CorrelationData = slices.Clone(c)
		}
		m.Props.Expires = int64(r.uvarint()) //nolint:gosec // as written
		for range r.count() {
			m.Props.User = append(m.Props.User, UserProperty{r.text(), r.text()})
		}
	}
	m.Original = ""
	if flags&flagOriginal != 0 {
		m.Original = r.text()
	}
	m.Payload = slices.Clone(r.bytes())
	if r.bad || len(r.b) != 0 {
		return errStoredMessage
	}
	return nil
}

func appendField[T string | []byte](b []byte, s T) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func appendUvarint(b []byte, n int) []byte { return binary.AppendUvarint(b, uint64(n)) } //nolint:gosec // a length

// fieldReader reads length-prefixed fields; after the first fault it returns zero values and bad is set.
type fieldReader struct {
	b   []byte
	bad bool
}

func (r *fieldReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count reads the length of a list, which cannot have more items than there are bytes left.
func (r *fieldReader) count() int {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return 0
	}
	return int(n) //nolint:gosec // bounded above
}

func (r *fieldReader) bytes() []byte {
	n := r.count()
	f := r.b[:n]
	r.b = r.b[n:]
	return f
}

func (r *fieldReader) text() string { return string(r.bytes()) }
