package broker

import (
	"context"
	"slices"
)

// maxHistoryScan bounds the entries read for one page, so that one call about rare messages cannot read for ever.
const maxHistoryScan = 5_000

// maxHistoryRead bounds the entries read from a log at once.
const maxHistoryRead = 1001

// History returns one page of an app's history (spec 11).
func (b *Broker) History(ctx context.Context, app AppID, q HistoryQuery) (HistoryPage, error) {
	if _, err := b.app(app); err != nil {
		return HistoryPage{}, err
	}
	return b.history(ctx, app, q, nil)
}

// PeerHistory returns a page of one conversation's history to a peer: of a direct conversation the messages that it sent or
// received, and none for who only knows the conversation's id; of a group all, to its members.
func (b *Broker) PeerHistory(ctx context.Context, app AppID, peer PeerID, q HistoryQuery) (HistoryPage, error) {
	if _, err := b.app(app); err != nil {
		return HistoryPage{}, err
	}
	if isDirectConversation(string(q.Conversation)) {
		return b.history(ctx, app, q, func(m *Message) bool { return m.From == peer || slices.Contains(m.To, peer) })
	}
	id, ok := ParseGroupID(string(q.Conversation))
	if !ok {
		return HistoryPage{}, Errorf(Malformed, "group is not of a group id's form")
	}
	k := groupKey{app, id}
	g, _, err := b.group(ctx, k)
	if err != nil {
		return HistoryPage{}, err
	}
	if err := b.checkMember(ctx, k, g, peer); err != nil {
		return HistoryPage{}, err
	}
	return b.history(ctx, app, q, nil)
}

// history returns a page of what keep says yes to; nil keeps everything.
func (b *Broker) history(ctx context.Context, app AppID, q HistoryQuery, keep func(*Message) bool) (HistoryPage, error) {
	page := HistoryPage{Items: []HistoryItem{}}
	r := Range{Reverse: !q.Ascending, Limit: min(q.Limit+1, maxHistoryRead)}
	if q.Since > 0 {
		r.After = FirstIDAt(q.Since).before()
	}
	r.After = maxID(r.After, b.forgotten(app))
	if q.Until > 0 {
		r.Before = FirstIDAt(q.Until)
	}
	if !q.Cursor.IsZero() {
		if q.Ascending {
			r.After = maxID(r.After, q.Cursor)
		} else if r.Before.IsZero() || q.Cursor.Compare(r.Before) < 0 {
			r.Before = q.Cursor
		}
	}
	logs := historyLogs(app, &q)
	var found []*Message
	var last MessageID // scanned
	for scanned := 0; len(found) <= q.Limit; {
		if scanned >= maxHistoryScan {
			page.Next = last // of a page ended early: the next one goes on from here
			break
		}
		ids, end, err := b.mergedIDs(ctx, logs, r)
		if err != nil {
			return page, err
		}
		if len(ids) == 0 {
			break
		}
		scanned += len(ids)
		messages, err := b.store.Messages(ctx, app, ids)
		if err != nil {
			return page, err
		}
		for _, m := range messages {
			if m != nil && m.Kind == KindMessage && (keep == nil || keep(m)) {
				found = append(found, m)
			}
		}
		if len(ids) < r.Limit {
			break
		}
		if last = end; r.Reverse {
			r.Before = last
		} else {
			r.After = last
		}
		r.Limit = min(2*r.Limit, maxHistoryRead) // most of what was read is gone
	}
	if len(found) > q.Limit {
		found = found[:q.Limit]
		page.Next = found[len(found)-1].ID
	}
	items, err := b.historyItems(ctx, app, found)
	page.Items = items
	return page, err
}

// forgotten is the newest id that the app's history.age hides.
func (b *Broker) forgotten(app AppID) MessageID {
	cfg, _ := b.App(app)
	if cfg.History.Age <= 0 {
		return MessageID{}
	}
	return FirstIDAt(b.now().Add(-cfg.History.Age).UnixMilli()).before()
}

func historyLogs(app AppID, q *HistoryQuery) []LogID {
	switch {
	case q.Conversation != "":
		owner := string(q.Conversation)
		return []LogID{{LogConversation, app, owner}, {LogPastConversation, app, owner}}
	case q.From != "":
		return []LogID{{LogSent, app, string(q.From)}, {LogPastSent, app, string(q.From)}}
	case q.Peer != "":
		owner := string(q.Peer)
		return []LogID{{LogSent, app, owner}, {LogInbox, app, owner}, {LogPastSent, app, owner}, {LogPastReceived, app, owner}}
	default:
		return []LogID{{LogApp, app, ""}, {LogPast, app, ""}}
	}
}

// mergedIDs reads the next ids of several logs in one order, each id once.
func (b *Broker) mergedIDs(ctx context.Context, logs []LogID, r Range) (ids []MessageID, last MessageID, err error) {
	for _, l := range logs {
		entries, err := b.store.Read(ctx, l, r)
		if err != nil {
			return nil, last, err
		}
		for _, e := range entries {
			ids = append(ids, e.ID)
		}
	}
	if len(logs) > 1 {
		slices.SortFunc(ids, func(x, y MessageID) int {
			if r.Reverse {
				return y.Compare(x)
			}
			return x.Compare(y)
		})
		ids = slices.Compact(ids)
		ids = ids[:min(len(ids), r.Limit)]
	}
	if len(ids) > 0 {
		last = ids[len(ids)-1]
	}
	return ids, last, nil
}

// historyItems shows messages as operators see them, with the time their receipt was given.
func (b *Broker) historyItems(ctx context.Context, app AppID, messages []*Message) ([]HistoryItem, error) {
	items := make([]HistoryItem, len(messages))
	var keys []Key
	var asked []int
	for i, m := range messages {
		items[i] = historyItem(m)
		if m.Receipt {
			keys, asked = append(keys, receiptKey(app, m.ID)), append(asked, i)
		}
	}
	if len(keys) == 0 {
		return items, nil
	}
	values, err := b.store.Get(ctx, keys)
	if err != nil {
		return nil, err
	}
	for j, v := range values {
		var id MessageID
		if len(v) == len(id) {
			copy(id[:], v)
			items[asked[j]].ReceiptAt = id.Time()
		}
	}
	return items, nil
}

func historyItem(m *Message) HistoryItem {
	it := HistoryItem{
		ID: m.ID, Conversation: m.Conversation, From: m.From, Group: m.Group,
		TS: m.ID.Time(), ContentType: m.Props.ContentType, FromIP: m.FromIP, Original: m.Original,
	}
	if m.Group == "" {
		it.To = m.To
	}
	if m.IsText() {
		text := string(m.Payload)
		it.Message = &text
	} else {
		it.Data = m.Payload
	}
	return it
}

// Message returns one message of history.
func (b *Broker) Message(ctx context.Context, app AppID, id MessageID) (HistoryItem, bool, error) {
	if _, err := b.app(app); err != nil {
		return HistoryItem{}, false, err
	}
	if id.Compare(b.forgotten(app)) <= 0 {
		return HistoryItem{}, false, nil
	}
	messages, err := b.store.Messages(ctx, app, []MessageID{id})
	if err != nil || messages[0] == nil || messages[0].Kind != KindMessage {
		return HistoryItem{}, false, err
	}
	items, err := b.historyItems(ctx, app, messages)
	if err != nil {
		return HistoryItem{}, false, err
	}
	return items[0], true, nil
}

// DeleteMessage removes a message from history and from every queue it waits in; false: there is none.
func (b *Broker) DeleteMessage(ctx context.Context, app AppID, id MessageID) (bool, error) {
	if _, found, err := b.Message(ctx, app, id); !found || err != nil {
		return false, err
	}
	_, err := b.commit(ctx, &Batch{Deletes: []Delete{{App: app, Message: id}}})
	return err == nil, err
}
