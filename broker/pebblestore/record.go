package pebblestore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"kith/broker"
)

// record is a record as the group sees it: read from the engine, then changed by the group's batches in turn. Its stored
// value is a uvarint of the expiry, 0 for never, and the value.
type record struct {
	key     broker.Key
	value   []byte
	expires int64
	there   bool // it has a value, perhaps an expired one
	changed bool
}

func (r *record) live(now int64) bool { return r.there && (r.expires == 0 || r.expires > now) }

// record returns the state of a record before the item at hand.
func (g *group) record(k broker.Key) (*record, error) {
	if r := g.records[k]; r != nil {
		return r, nil
	}
	r := &record{key: k}
	g.key = appendRecordKey(g.key[:0], k)
	stored, closer, err := g.s.db.Get(g.key)
	switch {
	case errors.Is(err, pebble.ErrNotFound):
	case err != nil:
		return nil, fmt.Errorf("read record %c of %q: %w", k.Space, k.Owner, err)
	default:
		r.there = true
		r.expires, r.value, err = splitRecord(stored)
		r.value = bytes.Clone(r.value)
		if err = errors.Join(err, closer.Close()); err != nil {
			return nil, fmt.Errorf("read record %c of %q: %w", k.Space, k.Owner, err)
		}
	}
	g.records[k] = r
	return r, nil
}

func splitRecord(stored []byte) (expires int64, value []byte, err error) {
	e, w := binary.Uvarint(stored)
	if w <= 0 {
		return 0, nil, errCorrupt
	}
	return int64(e), stored[w:], nil //nolint:gosec // as written
}

func (g *group) write(b *broker.Batch, w *broker.Write) error {
	w.Conflict, w.Current = false, nil
	if w.Guard.Space != 0 {
		guard, err := g.record(w.Guard)
		if err != nil {
			return err
		}
		if !guard.live(g.now) || !bytes.Contains(guard.value, w.GuardHas) {
			w.Conflict = true
			return nil
		}
	}
	if w.If != broker.Always {
		r, err := g.record(w.Key)
		if err != nil {
			return err
		}
		live := r.live(g.now)
		holds := !live
		if w.If == broker.IfEqual {
			holds = live && bytes.Equal(r.value, w.Have)
		}
		if !holds {
			w.Conflict = true
			if live {
				w.Current = append([]byte{}, r.value...)
			}
			return nil
		}
	}
	value := w.Value
	if w.Place != 0 {
		if w.Place < 0 || w.Place > len(b.Appends) {
			return fmt.Errorf("write record %c of %q: there is no append %d", w.Key.Space, w.Key.Owner, w.Place)
		}
		a := &b.Appends[w.Place-1]
		value = binary.BigEndian.AppendUint64(bytes.Clone(value), a.N)
		value = append(value, a.ID[:]...)
	}
	g.bytes += len(value)
	return g.putRecord(w.Key, value, w.Expires)
}

// putRecord sets a record, or removes it if the value is nil or has expired already.
func (g *group) putRecord(k broker.Key, value []byte, expires int64) error {
	r := g.records[k]
	if r == nil {
		r = &record{key: k}
		g.records[k] = r
	}
	r.value, r.expires, r.there = value, max(expires, 0), value != nil
	if expires != 0 && expires <= g.now {
		r.value, r.expires, r.there = nil, 0, false
	}
	g.change(r)
	return nil
}

func (g *group) change(r *record) {
	if !r.changed {
		r.changed = true
		g.changed = append(g.changed, r)
	}
}

func (g *group) emitRecords() {
	for _, r := range g.changed {
		keyLen := recordKeyLen(r.key)
		if !r.there {
			op := g.wb.DeleteDeferred(keyLen)
			appendRecordKey(op.Key[:0], r.key)
			_ = op.Finish()
			continue
		}
		expires := uint64(r.expires) //nolint:gosec // not negative
		op := g.wb.SetDeferred(keyLen, uvarintLen(expires)+len(r.value))
		appendRecordKey(op.Key[:0], r.key)
		_ = append(binary.AppendUvarint(op.Value[:0], expires), r.value...)
		_ = op.Finish()
		if r.expires != 0 {
			op := g.wb.SetDeferred(expiryKeyLen(r.key), 0)
			appendExpiryKey(op.Key[:0], expiryBucket(r.expires), r.key)
			_ = op.Finish()
		}
	}
}
