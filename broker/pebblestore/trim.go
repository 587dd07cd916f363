package pebblestore

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"kith/broker"
)

// trim drops the oldest events of a log before one is appended, when clearly more than keep are there: some are let
// stand, so that the look at the log's beginning is worth its while. keep 0 drops nothing.
func (g *group) trim(log broker.LogID, h *head, keep uint64) error {
	if keep == 0 || h.n < h.oldest+keep+keep/8+8 {
		return nil
	}
	it, err := g.iter()
	if err != nil {
		return err
	}
	g.key = appendLogPrefix(g.key[:0], log)
	prefix := g.key
	from := prefix
	if h.low != nil {
		from = h.low
	}
	firstKept := h.n + 2 - keep // with the one to come, keep of them
	h.oldest = firstKept
	for ok := it.SeekGE(from); ok && bytes.HasPrefix(it.Key(), prefix); ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		n, _, err := splitEvent(value)
		if err != nil {
			return err
		}
		if n >= firstKept {
			h.oldest = n
			break
		}
		if err := g.wb.Delete(it.Key(), nil); err != nil {
			return err
		}
		h.low = append(h.low[:0], it.Key()...)
	}
	return it.Error()
}

// trimLog removes the keys of a log that hold nothing from an id on, but the last key of a log with numbers, which tells how far they
// came.
func (g *group) trimLog(log broker.LogID, before broker.MessageID) error {
	if log.Kind == broker.LogEvents {
		return fmt.Errorf("no log of kind %q can be trimmed", log.Kind)
	}
	it, err := g.iter()
	if err != nil {
		return err
	}
	keys, size, err := trimmed(it, log, before)
	if err != nil || len(keys) == 0 {
		return err
	}
	if log.Kind == broker.LogApp || log.Kind == broker.LogPast {
		g.resize(log.App, log.Kind, -size)
	}
	if len(keys) > pointDeletes {
		return g.wb.DeleteRange(keys[0], append(keys[len(keys)-1], 0), nil)
	}
	for _, key := range keys {
		if err := g.wb.Delete(key, nil); err != nil {
			return err
		}
	}
	return nil
}

// trimmed returns the keys to remove of those below an id, and the size of their values. All but the last hold nothing that is not
// below the next.
func trimmed(it *pebble.Iterator, log broker.LogID, before broker.MessageID) (keys [][]byte, size int, err error) {
	prefix := appendLogPrefix(nil, log)
	end := appendID(bytes.Clone(prefix), before)
	var last []byte
	for at := it.SeekGEWithLimit(prefix, end); at == pebble.IterValid && bytes.Compare(it.Key(), end) < 0; at = it.NextWithLimit(end) {
		value, err := it.ValueAndErr()
		if err != nil {
			return nil, 0, err
		}
		keys = append(keys, bytes.Clone(it.Key()))
		last = append(last[:0], value...)
		size += len(value)
	}
	if err := it.Error(); err != nil || len(keys) == 0 {
		return nil, 0, err
	}
	n := len(keys) - 1
	stays, err := straddles(log.Kind, keyID(keys[n]), last, before)
	if err != nil {
		return nil, 0, err
	}
	if stays {
		return keys[:n], size - len(last), nil
	}
	return keys, size, nil
}

// straddles reports whether the last key below an id must stay.
func straddles(kind broker.LogKind, id broker.MessageID, value []byte, before broker.MessageID) (bool, error) {
	if kind.IsPast() {
		return false, nil
	}
	if kind != broker.LogApp {
		if n, w := binary.Uvarint(value); w <= 0 || n != 0 {
			return true, nil // a run with numbers
		}
	}
	entries, err := appendEntries(nil, kind, id, value)
	return len(entries) > 0 && entries[len(entries)-1].ID.Compare(before) >= 0, err
}
