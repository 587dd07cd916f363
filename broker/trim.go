package broker

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	// trimEvery is how often history is looked at for what is too old or too much.
	trimEvery = time.Minute
	// trimPage is how many messages one commit removes, so that no other waits long behind it.
	trimPage = 500
	// trimRest is how many times as long as a page took is waited before the next: trimming takes at most a fifth of the store's time.
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
		if removed, err = b.trimWhile(ctx, app, old, func() (bool, error) { return true, nil }); err != nil {
			return removed, err
		}
	}
	if cfg.History.Bytes <= 0 || b.sizer == nil {
		return removed, nil
	}
	more, err := b.trimWhile(ctx, app, waits, func() (bool, error) {
		size, err := b.sizer.HistoryBytes(ctx, app)
		return size > int64(cfg.History.Bytes), err
	})
	return removed + more, err
}

// trimWhile removes pages of messages before an id while needed says so.
func (b *Broker) trimWhile(ctx context.Context, app AppID, before MessageID, needed func() (bool, error)) (removed int, err error) {
	for {
		if more, err := needed(); err != nil || !more {
			return removed, err
		}
		began := time.Now()
		n, err := b.trimPage(ctx, app, before)
		removed += n
		if err != nil || n == 0 {
			return removed, err
		}
		select {
		case <-ctx.Done():
			return removed, ctx.Err()
		case <-time.After(max(trimPause, trimRest*time.Since(began))):
		}
	}
}

// trimPage removes the oldest messages before an id, and what refers to them.
func (b *Broker) trimPage(ctx context.Context, app AppID, before MessageID) (int, error) {
	from := b.trimming.from(app)
	ids, last, err := b.mergedIDs(ctx, historyLogs(app, &HistoryQuery{}), Range{After: from, Before: before, Limit: trimPage})
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	messages, err := b.store.Messages(ctx, app, ids)
	if err != nil {
		return 0, err
	}
	batch, end := &Batch{}, last.after()
	trim := func(log LogID) {
		batch.Deletes = append(batch.Deletes, Delete{App: app, Log: log, Before: end})
	}
	trim(LogID{LogApp, app, ""})
	trim(LogID{LogPast, app, ""})
	logs := map[LogID]bool{}
	for _, m := range messages {
		if m == nil {
			continue
		}
		for _, log := range logsOf(app, m) {
			if !logs[log] {
				logs[log] = true
				trim(log)
			}
		}
		if m.Receipt {
			batch.Writes = append(batch.Writes, Write{Key: receiptKey(app, m.ID)})
		}
	}
	if _, err := b.commit(ctx, batch); err != nil {
		return 0, fmt.Errorf("trim history: %w", err)
	}
	b.trimming.came(app, from, last)
	return len(ids), nil
}

// logsOf are the logs that may refer to a message.
func logsOf(app AppID, m *Message) []LogID {
	logs := []LogID{
		{LogConversation, app, string(m.Conversation)}, {LogPastConversation, app, string(m.Conversation)},
		{LogSent, app, string(m.From)}, {LogPastSent, app, string(m.From)},
	}
	if m.Group == "" {
		logs = append(logs, LogID{LogInbox, app, string(m.From)}) // for its other devices
	}
	for _, p := range m.To {
		logs = append(logs, LogID{LogInbox, app, string(p)}, LogID{LogPastReceived, app, string(p)})
	}
	return logs
}
