package broker

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"
)

const (
	// trimEvery is how often history is looked at for what is too old or too much.
	trimEvery = time.Minute
	// trimPage is how many messages are read at once to be removed; one commit removes several pages, up to trimMessages, and about
	// trimBytes of payload and trimLogs logs that refer to them, so that no other waits long behind it.
	trimPage     = 500
	trimMessages = 8000
	trimBytes    = 4 << 20
	trimLogs     = 4000
	// trimRest is how many times as long as a commit took is waited before the next: trimming takes at most a fifth of the store's time.
	// Once it has gone on for trimEvery, more comes than it removes, and it takes up to four fifths: the disk must not fill.
	trimRest = 4
	// trimPause is the least of that.
	trimPause = 2 * time.Millisecond
)

// trimming remembers how far each app's history was trimmed by this node, so that what an engine leaves before that is not looked
// at again and again.
type trimming struct {
	mu   sync.Mutex
	done map[AppID]MessageID // guarded by mu
}

func (t *trimming) from(app AppID) MessageID {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.done[app]
}

// came notes progress, unless it is to look at all again meanwhile.
func (t *trimming) came(app AppID, from, to MessageID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done == nil {
		t.done = map[AppID]MessageID{}
	}
	if t.done[app] == from {
		t.done[app] = to
	}
}

// again looks at all of an app's history the next time: something came before where it was.
func (t *trimming) again(app AppID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.done, app)
}

// keepHistory trims all apps' history from time to time until ctx ends.
func (b *Broker) keepHistory(ctx context.Context) {
	tick := time.NewTicker(trimEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, cfg := range b.Apps() {
			removed, err := b.TrimHistory(ctx, cfg.ID)
			switch {
			case ctx.Err() != nil:
				return
			case err != nil:
				b.log.Warn("history could not be trimmed; trying again later", "app", cfg.ID, "err", err)
			case removed > 0:
				b.log.Info("history trimmed", "app", cfg.ID, "messages", removed)
			}
		}
	}
}

// TrimHistory frees the space of what an app's history.age and history.bytes do not keep, oldest first, and says how many messages that
// were. What may still wait in a queue, because it is not older than queue.age, stays. The broker does it by itself every minute.
func (b *Broker) TrimHistory(ctx context.Context, app AppID) (removed int, err error) {
	a, err := b.app(app)
	if err != nil {
		return 0, err
	}
	cfg, now := a.cfg.Load(), b.now()
	waits := FirstIDAt(now.Add(-cfg.Queue.Age).UnixMilli())
	if cfg.History.Age > 0 {
		old := minID(waits, FirstIDAt(now.Add(-cfg.History.Age).UnixMilli()))
		if removed, err = b.trimWhile(ctx, app, old, func() (int64, error) { return math.MaxInt64, nil }); err != nil {
			return removed, err
		}
	}
	if cfg.History.Bytes <= 0 || b.sizer == nil {
		return removed, nil
	}
	more, err := b.trimWhile(ctx, app, waits, func() (int64, error) {
		size, err := b.sizer.HistoryBytes(ctx, app)
		return size - int64(cfg.History.Bytes), err
	})
	return removed + more, err
}

// trimWhile removes messages before an id, oldest first, while excess says that there are bytes too many.
func (b *Broker) trimWhile(ctx context.Context, app AppID, before MessageID, excess func() (int64, error)) (removed int, err error) {
	begun := time.Now()
	for {
		bytes, err := excess()
		if err != nil || bytes <= 0 {
			return removed, err
		}
		began := time.Now()
		n, err := b.trimSome(ctx, app, before, bytes)
		removed += n
		if err != nil || n == 0 {
			return removed, err
		}
		rest := time.Since(began) * trimRest
		if began.Sub(begun) > trimEvery {
			rest = time.Since(began) / trimRest
		}
		select {
		case <-ctx.Done():
			return removed, ctx.Err()
		case <-time.After(max(trimPause, rest)):
		}
	}
}

// trimSome removes the oldest messages before an id, and what refers to them, in one commit: pages of them until about that many bytes
// are gone.
func (b *Broker) trimSome(ctx context.Context, app AppID, before MessageID, bytes int64) (removed int, err error) {
	from := b.trimming.from(app)
	last, logs, batch := from, map[LogID]bool{{LogApp, app, ""}: true, {LogPast, app, ""}: true}, &Batch{}
	ids, _, err := b.mergedIDs(ctx, historyLogs(app, &HistoryQuery{}), Range{After: from, Before: before, Limit: trimMessages})
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	past, err := b.store.Read(ctx, LogID{LogPast, app, ""}, Range{After: from, Before: ids[len(ids)-1].after(), Limit: 1})
	if err != nil {
		return 0, err
	}
	bytes = min(bytes, trimBytes)
	for page := range slices.Chunk(ids, trimPage) {
		if bytes <= 0 || len(logs) >= trimLogs {
			break
		}
		messages, err := b.store.Messages(ctx, app, page)
		if err != nil {
			return 0, err
		}
		for _, m := range messages {
			if m == nil {
				continue
			}
			bytes -= int64(len(m.Payload))
			for _, log := range logsOf(app, m, len(past) > 0) {
				logs[log] = true
			}
			if m.Receipt {
				batch.Writes = append(batch.Writes, Write{Key: receiptKey(app, m.ID)})
			}
		}
		removed, last = removed+len(page), page[len(page)-1]
	}
	for log := range logs {
		batch.Deletes = append(batch.Deletes, Delete{App: app, Log: log, Before: last.after()})
	}
	slices.SortFunc(batch.Deletes, func(x, y Delete) int { // as an engine has them, for its sake
		return cmp.Or(cmp.Compare(x.Log.Kind, y.Log.Kind), cmp.Compare(x.Log.Owner, y.Log.Owner))
	})
	if _, err := b.commit(ctx, batch); err != nil {
		return 0, fmt.Errorf("trim history: %w", err)
	}
	b.trimming.came(app, from, last)
	return removed, nil
}

// logsOf are the logs that may refer to a message, which past says may have been imported.
func logsOf(app AppID, m *Message, past bool) []LogID {
	logs := []LogID{{LogConversation, app, string(m.Conversation)}, {LogSent, app, string(m.From)}}
	if m.Group == "" {
		logs = append(logs, LogID{LogInbox, app, string(m.From)}) // for its other devices
	}
	for _, p := range m.To {
		logs = append(logs, LogID{LogInbox, app, string(p)})
	}
	if past {
		logs = append(logs, LogID{LogPastConversation, app, string(m.Conversation)}, LogID{LogPastSent, app, string(m.From)})
		for _, p := range m.To {
			logs = append(logs, LogID{LogPastReceived, app, string(p)})
		}
	}
	return logs
}
