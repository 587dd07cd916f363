package broker

import (
	"context"
	"time"
)

// A live reader is a cursor over the app's log, as a session is one over its peer's: what a reader takes no sender waits for,
// and what it has not taken is in history. A message accepted on this node wakes it; what other nodes accepted it finds with a look a
// second. Presence has no history, so a reader that is too slow for it loses some and is told.

const (
	// liveEvery is how often a live reader looks for what other nodes wrote.
	liveEvery = time.Second
	// liveRest is how long a reader waits after it was woken: a busy app is read in pages, not message by message.
	liveRest = 20 * time.Millisecond
	// livePage is how many messages, and how many changes of presence, a live reader takes at once.
	livePage = 128
)

// LiveQuery selects what a live reader gets.
type LiveQuery struct {
	Messages     bool
	Presence     bool
	Conversation ConversationID // messages of it alone
	Peer         PeerID         // direct messages it sent or received, group messages it sent; its presence
	After        MessageID      // messages behind this one; zero: those to come
}

// LiveEvents is what happened since the look before.
type LiveEvents struct {
	Messages []HistoryItem
	Presence []PresenceChange
	Skipped  []LiveSkip
}

func (e *LiveEvents) empty() bool {
	return len(e.Messages) == 0 && len(e.Presence) == 0 && len(e.Skipped) == 0
}

// LiveSkip tells of events that a reader does not get.
type LiveSkip struct {
	Of    string `json:"of"`              // "message" or "presence"
	Count uint64 `json:"count,omitempty"` // changes of presence in the app; 0: nobody knows, as with messages that history.age removed
	Since int64  `json:"since"`           // Unix milliseconds; all before this time was told
}

// Live is a reader of what happens in an app. It belongs to one goroutine.
type Live struct {
	b        *Broker
	app      *app
	query    LiveQuery
	at       MessageID // the newest message told, or the end of the log at the start
	floor    MessageID // nothing at or before it is told
	seen     map[MessageID]struct{}
	back     time.Time // of the last look back
	place    uint64    // in the feed's changes of presence
	toldTill int64     // Unix milliseconds: presence was told up to then
	skipped  []LiveSkip
}

// Live starts to read an app live. Close must be called.
func (b *Broker) Live(ctx context.Context, id AppID, q LiveQuery) (*Live, error) {
	a, err := b.app(id)
	if err != nil {
		return nil, err
	}
	l := &Live{b: b, app: a, query: q, at: q.After, floor: q.After, toldTill: b.now().UnixMilli()}
	if forgotten := b.forgotten(id); !q.After.IsZero() && q.Messages && q.After.Compare(forgotten) < 0 {
		l.skipped = append(l.skipped, LiveSkip{Of: "message", Since: q.After.Time()})
	}
	if q.After.IsZero() {
		last, err := b.store.Last(ctx, []LogID{{LogApp, id, ""}})
		if err != nil {
			return nil, err
		}
		l.at, l.floor = last[0].ID, last[0].ID
	} else {
		l.floor = l.lookBack()
	}
	if b.late > 0 {
		l.seen = make(map[MessageID]struct{})
	}
	l.place = a.feed.enter()
	return l, nil
}

// Close ends the reading.
func (l *Live) Close() { l.app.feed.leave() }

// Next returns what happened since the call before. It waits until there is something, or ctx ends.
func (l *Live) Next(ctx context.Context) (LiveEvents, error) {
	look := time.NewTicker(liveEvery)
	defer look.Stop()
	for {
		something := l.app.feed.wait()
		events, err := l.look(ctx)
		if err != nil || !events.empty() {
			return events, err
		}
		select {
		case <-something:
		case <-look.C:
			continue
		case <-ctx.Done():
			return events, ctx.Err()
		}
		select {
		case <-time.After(liveRest):
		case <-ctx.Done():
			return events, ctx.Err()
		}
	}
}

// look returns what is there now.
func (l *Live) look(ctx context.Context) (events LiveEvents, err error) {
	events.Skipped, l.skipped = l.skipped, nil
	if l.query.Presence {
		l.lookAtPresence(&events)
	}
	if l.query.Messages {
		events.Messages, err = l.messages(ctx)
	}
	return events, err
}

func (l *Live) lookAtPresence(events *LiveEvents) {
	now := l.b.now().UnixMilli()
	next, lost := l.app.feed.changes(l.place, livePage, func(c PresenceChange) {
		if l.query.Peer == "" || l.query.Peer == c.Peer {
			events.Presence = append(events.Presence, c)
		}
	})
	if lost > 0 {
		events.Skipped = append(events.Skipped, LiveSkip{Of: "presence", Count: lost, Since: l.toldTill})
	}
	l.place, l.toldTill = next, now
}

// messages reads on from the last message told. Where entries may come late it begins, once a second, a little before that.
func (l *Live) messages(ctx context.Context) (found []HistoryItem, err error) {
	q := HistoryQuery{Conversation: l.query.Conversation, Peer: l.query.Peer, Ascending: true, Limit: livePage, Cursor: l.at}
	if now := l.b.now(); l.seen != nil && now.Sub(l.back) >= liveEvery {
		l.back = now
		q.Cursor = maxID(l.floor, l.lookBack())
		l.forget(q.Cursor)
	}
	for {
		page, err := l.page(ctx, q)
		if err != nil {
			return nil, err
		}
		for i := range page.Items {
			if l.isNew(page.Items[i].ID) {
				found = append(found, page.Items[i])
			}
		}
		if !page.Next.IsZero() {
			l.at = maxID(l.at, page.Next) // scanned, though nothing may have been found there
		}
		if page.Next.IsZero() || len(found) > 0 {
			return found, nil
		}
		q.Cursor = page.Next
	}
}

// page reads one page. Readers of the whole app stand at its end most of the time, and share what one of them reads.
func (l *Live) page(ctx context.Context, q HistoryQuery) (HistoryPage, error) {
	if q.Conversation != "" || q.Peer != "" {
		return l.b.history(ctx, l.app.id, q, nil)
	}
	return l.app.feed.pages.read(q.Cursor, func() (HistoryPage, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeReadDeadline) // it is for others too
		defer cancel()
		return l.b.history(ctx, l.app.id, q, nil)
	})
}

// isNew notes a message, and reports whether it was not told yet.
func (l *Live) isNew(id MessageID) bool {
	l.at = maxID(l.at, id)
	if l.seen == nil {
		return true
	}
	if _, told := l.seen[id]; told {
		return false
	}
	l.seen[id] = struct{}{}
	return true
}

// lookBack is the place before which no entry comes any more.
func (l *Live) lookBack() MessageID {
	if l.b.late == 0 {
		return l.at
	}
	return FirstIDAt(l.at.Time() - l.b.late.Milliseconds()).before()
}

// forget drops from seen what will not be read again.
func (l *Live) forget(before MessageID) {
	for id := range l.seen {
		if id.Compare(before) <= 0 {
			delete(l.seen, id)
		}
	}
}
