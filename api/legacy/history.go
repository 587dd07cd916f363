package legacy

import (
	"encoding/base64"

	"kith/broker"
)

// record is a message of history in that service's names.
type record struct {
	Timestamp int64                 `json:"timestamp"` // when it was accepted, Unix milliseconds
	ConvID    broker.ConversationID `json:"conv-id"`
	Data      string                `json:"data"` // text, or base64 with Bin
	From      broker.PeerID         `json:"from"`
	MsgID     string                `json:"msg-id"`  // of what was imported, the id that it had there
	IsConv    bool                  `json:"is-conv"` // a conversation of that service's second version: never
	IsRoom    bool                  `json:"is-room"` // it went to a group
	To        any                   `json:"to"`      // the receivers, or the group
	Bin       bool                  `json:"bin"`
	FromIP    string                `json:"from-ip"`
	AckAt     int64                 `json:"ack-at,omitempty"` // when its receipt was given, Unix milliseconds
}

func recordOf(i *broker.HistoryItem) record {
	r := record{
		Timestamp: i.TS, ConvID: i.Conversation, From: i.From, MsgID: i.ID.String(), To: i.To, FromIP: i.FromIP, AckAt: i.ReceiptAt,
	}
	if i.Original != "" {
		r.MsgID = i.Original
	}
	if i.Group != "" {
		r.IsRoom, r.To = true, i.Group
	}
	if i.Message != nil {
		r.Data = *i.Message
	} else {
		r.Bin, r.Data = true, base64.StdEncoding.EncodeToString(i.Data)
	}
	return r
}

// history answers a conversation's messages, what a peer sent, or the whole app's, newest first. All but the first take the master key.
func (a *calls) history(c *call) (any, error) {
	q, err := c.historyQuery()
	if err != nil {
		return nil, err
	}
	if q.Conversation == "" {
		if err := c.mustBeMaster(); err != nil {
			return nil, err
		}
	}
	read := func() (broker.HistoryPage, error) { return a.Broker.History(c.Context(), c.app, q) }
	if c.query.Has("peerid") {
		viewer, err := a.viewer(c, q.Conversation)
		if err != nil {
			return nil, err
		}
		read = func() (broker.HistoryPage, error) { return a.Broker.PeerHistory(c.Context(), c.app, viewer, q) }
	}
	records := []record{}
	for want := q.Limit; ; { // a page may end early; here fewer than asked for means that there is no more
		q.Limit = want - len(records)
		page, err := read()
		if err != nil {
			return nil, err
		}
		for i := range page.Items {
			records = append(records, recordOf(&page.Items[i]))
		}
		if len(records) == want || page.Next.IsZero() {
			return records, nil
		}
		q.Cursor = page.Next
	}
}

// historyQuery reads what a call for history selects, and where it begins.
func (c *call) historyQuery() (q broker.HistoryQuery, err error) {
	if q.Limit, err = c.limit(); err != nil {
		return q, err
	}
	if q.Ascending, err = c.flag("reversed"); err != nil {
		return q, err
	}
	if text := c.query.Get("convid"); text != "" {
		if q.Conversation, err = parseConversation(text); err != nil {
			return q, err
		}
	}
	if text := c.query.Get("from"); text != "" {
		if q.From, err = parsePeer("from", text); err != nil {
			return q, err
		}
	}
	if q.Conversation != "" && q.From != "" {
		return q, malformed("convid and from exclude each other")
	}
	return q, c.begin(&q)
}

// begin sets where history begins: before max_ts, which timestamp means too; with msgid, at that message of that time.
func (c *call) begin(q *broker.HistoryQuery) error {
	at, err := c.millis("max_ts")
	if err == nil && at == 0 {
		at, err = c.millis("timestamp")
	}
	if err != nil {
		return err
	}
	text := c.query.Get("msgid")
	if text == "" {
		q.Until = at
		return nil
	}
	if at == 0 {
		return malformed("msgid goes with the message's time as max_ts or timestamp")
	}
	if q.Cursor = messageID(text, at); q.Cursor.Time() != at {
		return malformed("msgid is not a message of that time")
	}
	return nil
}

// messageID reads a msg-id, of Kith or of what was imported, that a message of a time (Unix milliseconds) has.
func messageID(text string, at int64) broker.MessageID {
	id, err := broker.ParseMessageID(text)
	if err != nil {
		return broker.PastID(at, text)
	}
	return id
}

// viewer is the peer whom a signature in the query lets read a conversation.
func (a *calls) viewer(c *call, conversation broker.ConversationID) (broker.PeerID, error) {
	peer, err := parsePeer("peerid", c.query.Get("peerid"))
	if err != nil {
		return "", err
	}
	if conversation == "" {
		return "", malformed("peerid goes with convid")
	}
	return peer, a.Broker.CheckHistory(c.app, broker.HistoryProof{
		Peer: peer, Conversation: conversation,
		Timestamp: c.query.Get("signature_ts"), Nonce: c.query.Get("nonce"), Signature: c.query.Get("signature"),
	})
}

// deleteRecord deletes one message, which the caller names by all that there is to name it by.
func (a *calls) deleteRecord(c *call) (any, error) {
	at, err := c.millis("timestamp")
	if err != nil {
		return nil, err
	}
	conversation, err := parseConversation(c.query.Get("convid"))
	if err != nil {
		return nil, err
	}
	if at == 0 || !c.query.Has("msgid") {
		return nil, malformed("deleting takes convid, msgid and timestamp")
	}
	missing := notFound("there is no such message in that conversation at that time")
	id := messageID(c.query.Get("msgid"), at)
	c.target = id.String()
	item, found, err := a.Broker.Message(c.Context(), c.app, id)
	if err != nil {
		return nil, err
	}
	from := c.query.Get("from")
	if !found || item.Conversation != conversation || item.TS != at || from != "" && item.From != broker.PeerID(from) {
		return nil, missing
	}
	deleted, err := a.Broker.DeleteMessage(c.Context(), c.app, id)
	if err == nil && !deleted {
		err = missing
	}
	return empty{}, err
}
