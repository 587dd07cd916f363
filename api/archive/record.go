package archive

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"kith/broker"
)

// Record is what was read: a message, a group with members, or members of a group.
type Record struct {
	Message *broker.PastMessage
	Group   *broker.Group
	Members []broker.Member // of Group, or of the group In
	In      broker.GroupID
	Known   bool // none of these, but a part of an export that is not for importing
}

var (
	errNotJSON  = errors.New("it is no JSON object")
	errNotUTF8  = errors.New("it is not UTF-8")
	errUnknown  = errors.New("it is neither a record of an export, nor a message or a row of the original service")
	errConvers  = errors.New("conversation is not that of from and to, or of group")
	errTime     = errors.New("ts is not the time of id")
	errNoID     = errors.New("id is not a message id: 20 characters of 0-9 and a-v")
	errPayloads = errors.New("it has not just one of message and data")
)

// Parse reads one record, of whatever kind it is.
func Parse(data []byte) (Record, error) {
	if !utf8.Valid(data) {
		return Record{}, errNotUTF8
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil || fields == nil {
		return Record{}, errNotJSON
	}
	has := func(name string) bool { _, there := fields[name]; return there }
	switch {
	case has("type"):
		return parseTyped(data)
	case has("objectId"):
		return parseRow(fields)
	case has("msg-id") || has("conv-id") || has("is-room") || has("is-conv"):
		return parseForeign(data)
	case has("id") && has("ts"):
		return parseMessage(data)
	}
	return Record{}, errUnknown
}

// Message is a message in an export: an item of history and what else is kept of it.
type Message struct {
	broker.HistoryItem
	Device     broker.DeviceID `json:"device,omitempty"`
	QoS        byte            `json:"qos,omitempty"` // 2, or else 1
	Receipt    bool            `json:"receipt,omitempty"`
	Properties *Properties     `json:"properties,omitempty"`
}

// Properties are the MQTT 5 properties of a message but its content type.
type Properties struct {
	ResponseTopic   string      `json:"response_topic,omitempty"`
	CorrelationData []byte      `json:"correlation_data,omitempty"`
	Expires         int64       `json:"expires,omitempty"` // Unix milliseconds
	Text            bool        `json:"text,omitempty"`    // Payload Format Indicator 1
	User            [][2]string `json:"user,omitempty"`
}

func newMessage(p broker.PastMessage) Message {
	m := Message{HistoryItem: p.Item(), Device: p.Device, Receipt: p.Receipt}
	if p.QoS == 2 {
		m.QoS = 2
	}
	props := Properties{
		ResponseTopic: p.Props.ResponseTopic, CorrelationData: p.Props.CorrelationData, Expires: p.Props.Expires, Text: p.Props.TextFormat,
	}
	for _, u := range p.Props.User {
		props.User = append(props.User, [2]string{u.Name, u.Value})
	}
	if props.ResponseTopic != "" || len(props.CorrelationData) > 0 || props.Expires != 0 || props.Text || len(props.User) > 0 {
		m.Properties = &props
	}
	return m
}

func parseMessage(data []byte) (Record, error) {
	var in Message
	if err := strict(data, &in); err != nil {
		return Record{}, err
	}
	m := &broker.Message{
		ID: in.ID, From: in.From, Device: in.Device, To: in.To, Group: in.Group, Payload: in.Data,
		QoS: 1, Receipt: in.Receipt || in.ReceiptAt > 0, FromIP: in.FromIP, Original: in.Original,
	}
	switch {
	case in.ID.IsZero():
		return Record{}, errNoID
	case in.TS != in.ID.Time():
		return Record{}, errTime
	case in.Message != nil && in.Data != nil:
		return Record{}, errPayloads
	case in.Message != nil:
		m.Payload = []byte(*in.Message)
	case in.Data == nil:
		return Record{}, errPayloads
	}
	if in.Conversation != "" && in.Conversation != conversationOf(m) {
		return Record{}, errConvers
	}
	if in.QoS == 2 {
		m.QoS = 2
	}
	m.Props.ContentType = in.ContentType
	if p := in.Properties; p != nil {
		m.Props.ResponseTopic, m.Props.CorrelationData = p.ResponseTopic, p.CorrelationData
		m.Props.Expires, m.Props.TextFormat = max(p.Expires, 0), p.Text
		for _, u := range p.User {
			m.Props.User = append(m.Props.User, broker.UserProperty{Name: u[0], Value: u[1]})
		}
	}
	return Record{Message: &broker.PastMessage{Message: m, ReceiptAt: in.ReceiptAt}}, nil
}

func conversationOf(m *broker.Message) broker.ConversationID {
	if m.Group != "" {
		return broker.ConversationID(m.Group)
	}
	return broker.DirectConversation(append([]broker.PeerID{m.From}, m.To...)...)
}

// The types of the lines of an export that are no messages.
const (
	typeGroup  = "group"
	typeMember = "member"
	typePeer   = "peer"
	typeDevice = "device"
	typeEvent  = "event"
)

type groupLine struct {
	Type       string          `json:"type"`
	Group      broker.GroupID  `json:"group"`
	Name       string          `json:"name"`
	Open       bool            `json:"open"`
	Creator    broker.PeerID   `json:"creator"`
	Created    int64           `json:"created"`
	Attributes json.RawMessage `json:"attributes"`
}

type memberLine struct {
	Type   string         `json:"type"`
	Group  broker.GroupID `json:"group"`
	Peer   broker.PeerID  `json:"peer"`
	Joined int64          `json:"joined,omitempty"`
}

func parseTyped(data []byte) (Record, error) {
	var head struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return Record{}, errUnknown
	}
	switch head.Type {
	case typeGroup:
		var g groupLine
		if err := strict(data, &g); err != nil {
			return Record{}, err
		}
		return Record{Group: &broker.Group{
			ID: g.Group, Name: g.Name, Open: g.Open, Creator: g.Creator, Created: g.Created, Attributes: g.Attributes,
		}}, nil
	case typeMember:
		var m memberLine
		if err := strict(data, &m); err != nil {
			return Record{}, err
		}
		return Record{In: m.Group, Members: []broker.Member{{Peer: m.Peer, Joined: m.Joined}}}, nil
	case typePeer, typeDevice, typeEvent:
		return Record{Known: true}, nil
	}
	return Record{}, fmt.Errorf("its type %.20q is none of an export", head.Type)
}

// strict refuses fields that are not known, which would be lost.
func strict(data []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return fmt.Errorf("it does not parse: %w", err)
	}
	return nil
}
