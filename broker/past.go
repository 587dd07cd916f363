package broker

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
)

// What came from elsewhere goes into history alone: it is delivered to nobody, takes no number, and moves no cursor. Who may read it
// is judged as for any message, by its from, to and group.

const (
	// MaxPastMessage bounds the payload of a message from elsewhere, in bytes: the most that message_bytes can be set to.
	MaxPastMessage = 128 << 10
	// maxOriginal bounds the id that a message had where it came from, in bytes.
	maxOriginal = 128
	// maxPastReceivers bounds the receivers of a message from elsewhere.
	maxPastReceivers = 100
	// maxAddress bounds a sender's address, in bytes.
	maxAddress = 64
)

// PastMessage is a message from elsewhere, complete with its id, and when its receipt was given (Unix milliseconds; 0: not).
type PastMessage struct {
	*Message
	ReceiptAt int64
}

// Item is the message as history shows it.
func (m PastMessage) Item() HistoryItem {
	it := historyItem(m.Message)
	it.ReceiptAt = m.ReceiptAt
	return it
}

// PastID derives the id of a message that had another one where it came from. The same message gets the same id each time.
// ms is when it was accepted, in Unix milliseconds.
func PastID(ms int64, original string) MessageID {
	id := FirstIDAt(ms)
	sum := sha256.Sum256([]byte(original))
	copy(id[6:], sum[:6])
	return id
}

// ImportMessages takes messages into an app's history and says of each whether it is new (nil), there already (ErrAlreadyThere), or
// why it was not taken. What is new was read again after it was stored. An error of the whole call leaves some of them taken; to import
// them again completes it.
func (b *Broker) ImportMessages(ctx context.Context, app AppID, messages []PastMessage) ([]error, error) {
	if _, err := b.app(app); err != nil {
		return nil, err
	}
	outcome := make([]error, len(messages))
	stored := make([][]byte, len(messages))
	ids := make([]MessageID, len(messages))
	now, forgotten := b.now().UnixMilli(), b.forgotten(app)
	for i, m := range messages {
		ids[i] = m.ID
		if m.ID.Compare(forgotten) <= 0 && !forgotten.IsZero() {
			outcome[i] = Errorf(Malformed, "it is older than what the app keeps (history.age)")
			continue
		}
		if err := m.check(now); err != nil {
			outcome[i] = err
			continue
		}
		var err error
		if stored[i], err = m.AppendBinary(nil); err != nil {
			return nil, err
		}
	}
	if err := b.compareStored(ctx, app, ids, stored, outcome); err != nil {
		return nil, err
	}
	batch, places := pastBatch(app, messages, stored, outcome)
	if len(places) == 0 {
		return outcome, nil
	}
	if _, err := b.commit(ctx, batch); err != nil {
		return nil, err
	}
	b.trimming.again(app)
	there, err := b.storedForms(ctx, app, ids)
	if err != nil {
		return nil, err
	}
	for _, i := range places {
		if !bytes.Equal(there[i], stored[i]) {
			outcome[i] = Errorf(Internal, "it was stored and is not there as it came; import it again")
		}
	}
	return outcome, nil
}

// ErrAlreadyThere says that a message from elsewhere is in history already, as it came.
var ErrAlreadyThere = Errorf(Malformed, "it is there already")

// pastBatch gathers what is to be stored, each id once, and the places of it among messages.
func pastBatch(app AppID, messages []PastMessage, stored [][]byte, outcome []error) (*Batch, []int) {
	batch, places := &Batch{}, []int(nil)
	first := make(map[MessageID]int, len(messages))
	for i, m := range messages {
		if outcome[i] != nil {
			continue
		}
		if earlier, again := first[m.ID]; again {
			outcome[i] = sameStored(stored[earlier], stored[i])
			continue
		}
		first[m.ID] = i
		places = append(places, i)
		batch.Appends = append(batch.Appends, Append{App: app, Message: m.Message, Past: true})
		if m.Receipt && m.ReceiptAt > 0 {
			at := FirstIDAt(m.ReceiptAt)
			batch.Writes = append(batch.Writes, Write{Key: receiptKey(app, m.ID), Value: at[:]})
		}
	}
	return batch, places
}

// compareStored finds out which messages are in history already.
func (b *Broker) compareStored(ctx context.Context, app AppID, ids []MessageID, stored [][]byte, outcome []error) error {
	there, err := b.storedForms(ctx, app, ids)
	if err != nil {
		return err
	}
	for i := range there {
		if outcome[i] == nil && there[i] != nil {
			outcome[i] = sameStored(there[i], stored[i])
		}
	}
	return nil
}

func (b *Broker) storedForms(ctx context.Context, app AppID, ids []MessageID) ([][]byte, error) {
	messages, err := b.store.Messages(ctx, app, ids)
	if err != nil {
		return nil, err
	}
	forms := make([][]byte, len(ids))
	for i, m := range messages {
		if m == nil {
			continue
		}
		if forms[i], err = m.AppendBinary(nil); err != nil {
			return nil, err
		}
	}
	return forms, nil
}

func sameStored(there, comes []byte) error {
	if bytes.Equal(there, comes) {
		return ErrAlreadyThere
	}
	return Errorf(InvalidTarget, "another message has its id")
}

// check refuses what could not be a message of history.
func (m *PastMessage) check(now int64) error {
	if ms := m.ID.Time(); ms < 1 || ms >= now {
		return Errorf(Malformed, "its time is not in the past: 1 to now, in Unix milliseconds")
	}
	if m.ReceiptAt != 0 && m.ReceiptAt < m.ID.Time() {
		return Errorf(Malformed, "its receipt is older than itself")
	}
	if _, ok := ParsePeerID(string(m.From)); !ok {
		return Errorf(InvalidPeer, "from is not a peer id: 1-50 characters without control characters, spaces and / + # : $")
	}
	if err := m.checkReceivers(); err != nil {
		return err
	}
	switch {
	case len(m.Payload) > MaxPastMessage:
		return Errorf(MessageTooLong, "it is over %d bytes", MaxPastMessage)
	case m.Props.Size() > MaxPastMessage:
		return Errorf(LimitExceeded, "its properties are over %d bytes", MaxPastMessage)
	case len(m.Original) > maxOriginal:
		return Errorf(LimitExceeded, "its original id is over %d bytes", maxOriginal)
	case len(m.FromIP) > maxAddress:
		return Errorf(Malformed, "its address is over %d bytes", maxAddress)
	}
	return nil
}

func (m *PastMessage) checkReceivers() error {
	if m.Group != "" {
		if _, ok := ParseGroupID(string(m.Group)); !ok {
			return Errorf(Malformed, "group is not a group id: 1-64 of A-Z a-z 0-9 _ . - and not 32 hex digits")
		}
		if len(m.To) > 0 {
			return Errorf(Malformed, "it has receivers and a group")
		}
		m.Conversation = ConversationID(m.Group)
		return nil
	}
	if len(m.To) == 0 || len(m.To) > maxPastReceivers {
		return Errorf(Malformed, "it has %d receivers and no group: 1 to %d are possible", len(m.To), maxPastReceivers)
	}
	for i, p := range m.To {
		if _, ok := ParsePeerID(string(p)); !ok {
			return Errorf(InvalidPeer, "to is not a peer id: 1-50 characters without control characters, spaces and / + # : $")
		}
		if slices.Contains(m.To[:i], p) {
			return Errorf(Malformed, "a receiver is there twice")
		}
	}
	m.Conversation = DirectConversation(append(slices.Clone(m.To), m.From)...)
	return nil
}

// exportPage is how many messages an export holds in memory at once.
const exportPage = 250

// ExportQuery selects what of history is exported, oldest first.
type ExportQuery struct {
	Peer         PeerID // direct messages it sent or received, group messages it sent; empty: the whole app
	Since, Until int64  // Unix milliseconds, inclusive and exclusive; 0: open
}

// Export calls do with an app's history, page by page in the order of ids, up to the newest message of when it was called: what comes
// meanwhile does not make it longer.
func (b *Broker) Export(ctx context.Context, app AppID, q ExportQuery, do func([]PastMessage) error) error {
	if _, err := b.app(app); err != nil {
		return err
	}
	logs := historyLogs(app, &HistoryQuery{Peer: q.Peer})
	ends, err := b.store.Last(ctx, []LogID{{LogApp, app, ""}, {LogPast, app, ""}})
	if err != nil {
		return err
	}
	end := maxID(ends[0].ID, ends[1].ID)
	if end.IsZero() {
		return nil
	}
	r := Range{After: b.forgotten(app), Before: end.after(), Limit: exportPage}
	if q.Since > 0 {
		r.After = maxID(r.After, FirstIDAt(q.Since).before())
	}
	if q.Until > 0 {
		r.Before = minID(r.Before, FirstIDAt(q.Until))
	}
	for {
		ids, last, err := b.mergedIDs(ctx, logs, r)
		if err != nil || len(ids) == 0 {
			return err
		}
		page, err := b.pastPage(ctx, app, ids)
		if err != nil {
			return err
		}
		if err := do(page); err != nil {
			return err
		}
		if len(ids) < r.Limit {
			return nil
		}
		r.After = last
	}
}

func (b *Broker) pastPage(ctx context.Context, app AppID, ids []MessageID) ([]PastMessage, error) {
	messages, err := b.store.Messages(ctx, app, ids)
	if err != nil {
		return nil, fmt.Errorf("read messages: %w", err)
	}
	messages = slices.DeleteFunc(messages, func(m *Message) bool { return m == nil || m.Kind != KindMessage })
	items, err := b.historyItems(ctx, app, messages)
	if err != nil {
		return nil, err
	}
	page := make([]PastMessage, len(messages))
	for i, m := range messages {
		page[i] = PastMessage{m, items[i].ReceiptAt}
	}
	return page, nil
}
