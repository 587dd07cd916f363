package pebblestore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"kith/broker"
)

var _ broker.Movable = (*Store)(nil)

// recordPage is how many records Records tells at once.
const recordPage = 500

// Logs implements broker.Movable. Each log is told once, and costs two seeks.
func (s *Store) Logs(ctx context.Context, do func(broker.LogEnd) error) (err error) {
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.reading.RUnlock()
	it, err := s.db.NewIter(nil)
	if err != nil {
		return fmt.Errorf("list logs: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for _, kind := range []broker.LogKind{
		broker.LogApp, broker.LogConversation, broker.LogSent, broker.LogInbox, broker.LogEvents,
		broker.LogPast, broker.LogPastConversation, broker.LogPastSent, broker.LogPastReceived,
	} {
		for ok := it.SeekGE([]byte{byte(kind)}); ok && it.Key()[0] == byte(kind) && ctx.Err() == nil; {
			prefix := bytes.Clone(it.Key()[:len(it.Key())-idSize])
			it.SeekLT(prefixEnd(prefix))
			end, err := logEnd(prefix, it)
			if err != nil {
				return fmt.Errorf("end of a log: %w", err)
			}
			if err := do(end); err != nil {
				return err
			}
			ok = it.SeekGE(prefixEnd(prefix))
		}
	}
	return errors.Join(ctx.Err(), it.Error())
}

// logEnd reads the end of the log with this prefix, at whose last key it stands.
func logEnd(prefix []byte, it *pebble.Iterator) (end broker.LogEnd, err error) {
	app, owner, _ := bytes.Cut(prefix[1:len(prefix)-1], []byte{0})
	end.LogID = broker.LogID{Kind: broker.LogKind(prefix[0]), App: broker.AppID(app), Owner: string(owner)}
	value, err := it.ValueAndErr()
	if err != nil {
		return end, err
	}
	end.ID = keyID(it.Key())
	switch {
	case end.Kind.IsPast():
	case end.Kind == broker.LogEvents:
		end.N, _, err = splitEvent(value)
	case end.Kind == broker.LogApp:
		entries, err := appendEntries(nil, end.Kind, end.ID, value)
		if len(entries) > 0 {
			end.ID = entries[len(entries)-1].ID
		}
		return end, err
	default:
		var h head
		h, err = runHead(end.ID, value)
		end.ID, end.N = h.last, h.n
	}
	return end, err
}

// Records implements broker.Movable.
func (s *Store) Records(ctx context.Context, do func([]broker.Write) error) (err error) {
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.reading.RUnlock()
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{keyRecord}, UpperBound: []byte{keyRecord + 1}})
	if err != nil {
		return fmt.Errorf("list records: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	now := s.opts.Now().UnixMilli()
	var page []broker.Write
	for ok := it.First(); ok && ctx.Err() == nil; ok = it.Next() {
		stored, err := it.ValueAndErr()
		if err != nil {
			return fmt.Errorf("read a record: %w", err)
		}
		expires, value, err := splitRecord(stored)
		k, parsed := parseRecordKey(it.Key())
		if err != nil || !parsed {
			return fmt.Errorf("a record: %w", errCorrupt)
		}
		if expires != 0 && expires <= now {
			continue
		}
		page = append(page, broker.Write{Key: k, Value: append([]byte{}, value...), Expires: expires})
		if len(page) == recordPage {
			if err := do(page); err != nil {
				return err
			}
			page = nil
		}
	}
	if err := errors.Join(ctx.Err(), it.Error()); err != nil || len(page) == 0 {
		return err
	}
	return do(page)
}

// Reach implements broker.Movable.
func (s *Store) Reach(_ context.Context, id broker.MessageID) error {
	if clockOf(id) <= s.visible.Load() {
		return nil
	}
	if err := s.db.Set([]byte(keyLast), id[:], pebble.Sync); err != nil {
		return fmt.Errorf("write the last id: %w", err)
	}
	s.visible.Store(clockOf(id))
	return nil
}

// Extend implements broker.Movable. It is on the disk with the next Ping. A store that was extended is to be opened anew before it serves.
func (s *Store) Extend(_ context.Context, log broker.LogEnd, entries []broker.Entry, messages []*broker.Message) error {
	if err := checkNames(log.App, log.Owner); err != nil {
		return err
	}
	x := extension{wb: s.db.NewBatch(), prefix: appendLogPrefix(nil, log.LogID)}
	defer x.wb.Close() //nolint:errcheck // only returns it to a pool
	var err error
	switch {
	case len(entries) == 0:
		err = x.mark(log)
	case log.Kind == broker.LogApp:
		err = x.blocks(messages)
	case log.Kind == broker.LogPast:
		err = x.past(messages)
	case log.Kind.IsPast():
		for _, e := range entries {
			err = errors.Join(err, x.set(e.ID, nil))
		}
	case log.Kind == broker.LogEvents:
		for _, e := range entries {
			err = errors.Join(err, x.set(e.ID, append(binary.AppendUvarint([]byte{eventHere}, e.N), e.Value...)))
		}
	default:
		err = x.runs(log.LogID, entries)
	}
	if err == nil && messages != nil {
		k := sizeKey{log.App, log.Kind}
		var size int64
		if size, err = s.storedSize(k); err == nil {
			err = x.wb.Set(k.append(nil), binary.AppendUvarint(nil, uint64(size+x.bytes)), nil) //nolint:gosec // not negative
		}
	}
	if err == nil {
		err = x.wb.Commit(pebble.NoSync)
	}
	if err != nil {
		return fmt.Errorf("extend log %c of %q: %w", log.Kind, log.Owner, err)
	}
	return nil
}

// extension is what is added to one log.
type extension struct {
	wb     *pebble.Batch
	prefix []byte
	bytes  int64 // of the values
}

func (x *extension) set(id broker.MessageID, value []byte) error {
	x.bytes += int64(len(value))
	return x.wb.Set(appendID(bytes.Clone(x.prefix), id), value, nil)
}

// mark leaves the last number of an emptied log.
func (x *extension) mark(log broker.LogEnd) error {
	if log.Kind == broker.LogEvents {
		return x.set(log.ID, binary.AppendUvarint([]byte{eventEmptied}, log.N))
	}
	return x.set(log.ID, binary.AppendUvarint(nil, log.N+1))
}

// blocks writes messages of one node each, as a group does.
func (x *extension) blocks(messages []*broker.Message) error {
	k := &block{}
	end := func() error {
		defer k.reset()
		if k.count == 0 {
			return nil
		}
		return x.set(k.first, k.appendValue(nil))
	}
	for _, m := range messages {
		if k.count > 0 && (len(k.bodies) >= blockBytes || withClock(k.first, clockOf(m.ID)) != m.ID) {
			if err := end(); err != nil {
				return err
			}
		}
		if err := k.add(m, m.ID); err != nil {
			return err
		}
	}
	return end()
}

func (x *extension) past(messages []*broker.Message) error {
	for _, m := range messages {
		stored, err := m.AppendBinary(nil)
		if err != nil {
			return err
		}
		if err := x.set(m.ID, stored); err != nil {
			return err
		}
	}
	return nil
}

// runs writes entries of one node each, with numbers that follow each other, as a run holds them.
func (x *extension) runs(log broker.LogID, entries []broker.Entry) error {
	for len(entries) > 0 {
		first := entries[0]
		next := first.N
		if first.Kind == broker.KindMembership && log.IsNumbered() {
			next++
		}
		value, clock := binary.AppendUvarint(nil, next), clockOf(first.ID)
		n := 0
		for _, e := range entries[:min(len(entries), runEntries)] {
			number := next
			switch {
			case !log.IsNumbered():
			case e.Kind == broker.KindMembership:
				number--
			default:
				next++
			}
			if e.N != number || withClock(first.ID, clockOf(e.ID)) != e.ID {
				break
			}
			value = appendPlace(value, clockOf(e.ID)-clock, e.Kind)
			clock = clockOf(e.ID)
			n++
		}
		if n == 0 {
			return fmt.Errorf("entry %s: %w", first.ID, errCorrupt)
		}
		if err := x.set(first.ID, value); err != nil {
			return err
		}
		entries = entries[n:]
	}
	return nil
}
