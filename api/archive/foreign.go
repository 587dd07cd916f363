package archive

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"kith/broker"
)

// foreignMessage is a message as the original service's history calls return it.
type foreignMessage struct {
	Timestamp json.Number `json:"timestamp"`
	ConvID    string      `json:"conv-id"`
	Data      *string     `json:"data"`
	From      string      `json:"from"`
	MsgID     string      `json:"msg-id"`
	IsConv    bool        `json:"is-conv"` // to a conversation of version 2
	IsRoom    bool        `json:"is-room"` // to a group of version 1
	To        peerList    `json:"to"`
	Bin       bool        `json:"bin"`
	FromIP    string      `json:"from-ip"`
	AckAt     json.Number `json:"ack-at"`
}

// peerList is one id or several.
type peerList []string

// UnmarshalJSON takes a string, an array of strings, or null.
func (l *peerList) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '[' {
		return json.Unmarshal(data, (*[]string)(l))
	}
	one := ""
	if err := json.Unmarshal(data, &one); err != nil {
		return err
	}
	*l = nil
	if one != "" {
		*l = peerList{one}
	}
	return nil
}

var (
	errTimestamp = errors.New("timestamp is not in Unix milliseconds")
	errAckAt     = errors.New("ack-at is not in Unix milliseconds")
	errNoData    = errors.New("data is missing")
	errBase64    = errors.New("bin is true and data is not base64")
	errNoMsgID   = errors.New("msg-id is missing")
)

// parseForeign turns such a message into one of ours: rooms and conversations are groups of the same id, all others are direct. Fields
// not named above are left out.
func parseForeign(data []byte) (Record, error) {
	var in foreignMessage
	if err := json.Unmarshal(data, &in); err != nil {
		return Record{}, fmt.Errorf("it does not parse: %w", err)
	}
	ms, err := in.Timestamp.Int64()
	if err != nil || ms < 1 {
		return Record{}, errTimestamp
	}
	if in.MsgID == "" {
		return Record{}, errNoMsgID
	}
	m := &broker.Message{
		ID: broker.PastID(ms, in.MsgID), From: broker.PeerID(in.From), QoS: 1, FromIP: in.FromIP, Original: in.MsgID,
	}
	if id, err := broker.ParseMessageID(in.MsgID); err == nil && id.Time() == ms { // another Kith's
		m.ID, m.Original = id, ""
	}
	past := &broker.PastMessage{Message: m}
	switch {
	case in.Data == nil:
		return Record{}, errNoData
	case in.Bin:
		if m.Payload, err = base64.StdEncoding.DecodeString(*in.Data); err != nil {
			return Record{}, errBase64
		}
	default:
		m.Payload = []byte(*in.Data)
	}
	if in.IsRoom || in.IsConv {
		m.Group = broker.GroupID(in.ConvID)
	} else {
		for _, p := range in.To {
			m.To = append(m.To, broker.PeerID(p))
		}
	}
	if in.AckAt != "" {
		if past.ReceiptAt, err = in.AckAt.Int64(); err != nil {
			return Record{}, errAckAt
		}
		m.Receipt = past.ReceiptAt > 0
	}
	return Record{Message: past}, nil
}
