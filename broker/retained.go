package broker

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// What is retained under {app}/topic/ is a record of its topic: an id and the publish. The order of a topic's records is that of its ids,
// which grow with each change, whatever the clocks of the nodes say; so nodes that hear of changes in another order agree all the same. What
// was cleared stays as a record without a payload for a while, so that ids grow past it.

// clearedFor is how long a topic that was cleared keeps its id.
const clearedFor = time.Minute

func retainedKey(app AppID, topic string) Key {
	return Key{Space: SpaceRetained, App: app, Owner: topic}
}

// retain makes p durable as what is retained on its topic, and takes it up.
func (b *Broker) retain(app AppID, p *Publish) (MessageID, error) {
	ctx, cancel := context.WithTimeout(context.Background(), requestDeadline)
	defer cancel()
	key := retainedKey(app, string(p.Topic))
	values, err := b.store.Get(ctx, []Key{key})
	if err != nil {
		return MessageID{}, fmt.Errorf("read what is retained: %w", err)
	}
	for now := values[0]; ; {
		id := b.ids.Next()
		if last, _, ok := decodeRetained(now); ok && last.Compare(id) >= 0 {
			id = last.after()
		}
		w := condition(key, now, appendPublish(slices.Clone(id[:]), p))
		w.Expires = p.Props.Expires
		if len(p.Payload) == 0 {
			w.Expires = b.now().Add(clearedFor).UnixMilli()
		}
		batch, err := b.commit(ctx, &Batch{Writes: []Write{w}})
		if err != nil {
			return MessageID{}, fmt.Errorf("store what is retained: %w", err)
		}
		if w = batch.Writes[0]; !w.Conflict {
			b.topics.Retain(app, id, p)
			return id, nil
		}
		now = w.Current
	}
}

func decodeRetained(value []byte) (id MessageID, p *Publish, ok bool) {
	r := fieldReader{b: value}
	if id = r.id(); r.bad {
		return id, nil, false
	}
	p, ok = readPublish(&r)
	return id, p, ok
}

// LoadRetained has the router take up what is retained in all apps, as the store has it. It is called before the first Open, and when
// apps were added.
func (b *Broker) LoadRetained(ctx context.Context) error {
	if b.topics == nil {
		return nil
	}
	for id := range *b.apps.Load() {
		if err := b.loadRetained(ctx, id); err != nil {
			return fmt.Errorf("read what is retained in app %s: %w", id, err)
		}
	}
	return nil
}

func (b *Broker) loadRetained(ctx context.Context, app AppID) error {
	before := b.topics.Retained(app)
	q := ListQuery{Space: SpaceRetained, App: app, Limit: pageSize}
	for {
		page, err := b.store.List(ctx, q)
		if err != nil {
			return err
		}
		for _, rec := range page {
			q.After = rec.Key
			delete(before, rec.Key.Owner)
			id, p, ok := decodeRetained(rec.Value)
			if !ok {
				b.log.Warn("what is retained does not parse", "app", app)
				continue
			}
			p.Topic = []byte(rec.Key.Owner)
			b.topics.Retain(app, id, p)
		}
		if len(page) < pageSize {
			break
		}
	}
	for topic, id := range before { // was there before the list began, and is not in it
		b.topics.Forget(app, topic, id)
	}
	return nil
}
