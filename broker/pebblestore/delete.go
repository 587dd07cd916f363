package pebblestore

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"kith/broker"
)

// pointDeletes is how many keys of a log are removed one by one. Range deletions cost every later reader
// something, so they are left for long logs.
const pointDeletes = 64

// emptiesLogs says that a batch wants a group of its own: an emptied or trimmed log needs everything before it in the engine.
func emptiesLogs(b *broker.Batch) bool {
	for i := range b.Deletes {
		if b.Deletes[i].Message.IsZero() {
			return true
		}
	}
	return false
}

func (g *group) delete(d *broker.Delete) error {
	if d.Message.IsZero() && !d.Before.IsZero() {
		if err := g.trimLog(d.Log, d.Before); err != nil {
			return fmt.Errorf("trim log %c of %q: %w", d.Log.Kind, d.Log.Owner, err)
		}
		return nil
	}
	if d.Message.IsZero() {
		if err := g.deleteLog(d.Log); err != nil {
			return fmt.Errorf("empty log %c of %q: %w", d.Log.Kind, d.Log.Owner, err)
		}
		return nil
	}
	if err := g.deleteMessage(d.App, d.Message); err != nil {
		return fmt.Errorf("delete message %s: %w", d.Message, err)
	}
	return nil
}

// deleteMessage takes a message out of its block, and out of the past. Several of one group may be in the same block.
func (g *group) deleteMessage(app broker.AppID, id broker.MessageID) error {
	if err := g.deletePast(app, id); err != nil {
		return err
	}
	if g.emptied[app] {
		return nil
	}
	it, err := g.iter()
	if err != nil {
		return err
	}
	g.key = appendLogPrefix(g.key[:0], broker.LogID{Kind: broker.LogApp, App: app})
	prefix := len(g.key)
	g.key = append(appendID(g.key, id), 0)
	if !it.SeekLT(g.key) || !bytes.HasPrefix(it.Key(), g.key[:prefix]) {
		return it.Error()
	}
	value, changed := g.cut[string(it.Key())]
	if !changed {
		if value, err = it.ValueAndErr(); err != nil {
			return err
		}
	} else if value == nil {
		return nil
	}
	left, found, err := blockWithout(keyID(it.Key()), value, id)
	if err != nil || !found {
		return err
	}
	g.cut[string(it.Key())] = left
	g.resize(app, broker.LogApp, len(left)-len(value))
	return nil
}

// emitCut writes the blocks that lost messages, unless their app's log was emptied since.
func (g *group) emitCut() error {
	for key, left := range g.cut {
		app, _, _ := bytes.Cut([]byte(key[1:]), []byte{0})
		if g.emptied[broker.AppID(app)] {
			continue
		}
		var err error
		if left == nil {
			err = g.wb.Delete([]byte(key), nil)
		} else {
			err = g.wb.Set([]byte(key), left, nil)
		}
		if err != nil {
			return fmt.Errorf("write block: %w", err)
		}
	}
	return nil
}

// deleteLog empties a log and leaves its last number under its last id.
func (g *group) deleteLog(log broker.LogID) error {
	var h *head
	switch log.Kind {
	case broker.LogApp:
		g.emptied[log.App] = true
		g.unsize(log.App, log.Kind)
	case broker.LogConversation, broker.LogInbox, broker.LogEvents:
		var err error
		if h, err = g.head(log); err != nil {
			return err
		}
	case broker.LogPast:
		g.unsize(log.App, log.Kind)
	case broker.LogSent, broker.LogPastConversation, broker.LogPastSent, broker.LogPastReceived:
	default:
		return fmt.Errorf("no log of kind %q", log.Kind)
	}
	g.emitLogs()
	g.key = appendLogPrefix(g.key[:0], log)
	if err := g.deletePrefix(g.key); err != nil {
		return err
	}
	if h == nil || h.n == 0 {
		return nil
	}
	h.oldest, h.low = h.n+1, nil
	g.key = appendID(g.key, h.last)
	if log.Kind == broker.LogEvents {
		return g.wb.Set(g.key, binary.AppendUvarint([]byte{eventEmptied}, h.n), nil)
	}
	return g.wb.Set(g.key, binary.AppendUvarint(nil, h.n+1), nil)
}

func (g *group) deletePrefix(prefix []byte) error {
	if g.count == 0 {
		few, err := g.few(prefix)
		if err != nil {
			return err
		}
		if few != nil {
			for _, key := range few {
				if err := g.wb.Delete(key, nil); err != nil {
					return err
				}
			}
			return nil
		}
	}
	return g.wb.DeleteRange(prefix, prefixEnd(prefix), nil)
}

// few returns the log's keys, nil if they are many.
func (g *group) few(prefix []byte) ([][]byte, error) {
	it, err := g.s.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: prefixEnd(prefix)})
	if err != nil {
		return nil, err
	}
	keys := [][]byte{}
	for ok := it.First(); ok; ok = it.Next() {
		if len(keys) == pointDeletes {
			keys = nil
			break
		}
		keys = append(keys, bytes.Clone(it.Key()))
	}
	if err := it.Error(); err != nil {
		_ = it.Close()
		return nil, err
	}
	return keys, it.Close()
}
