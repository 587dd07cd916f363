package broker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Movable is a store whose whole content another can take in, while nothing else uses either.
type Movable interface {
	Store

	// Logs calls do with every log, perhaps more than once.
	Logs(ctx context.Context, do func(LogEnd) error) error

	// Records calls do with the writes that make every record that has not expired, some hundred at a time, perhaps some more than once.
	Records(ctx context.Context, do func([]Write) error) error

	// Reach makes every id that is given from now on greater than id.
	Reach(ctx context.Context, id MessageID) error

	// Extend puts entries behind those of a log, with the ids and numbers that they have. messages are those of the entries, of an app's
	// log or past; nil else. Without entries it makes an emptied log whose numbers go on behind those of its end.
	Extend(ctx context.Context, log LogEnd, entries []Entry, messages []*Message) error
}

// LogEnd is a log and the last id and number that it had, also where it was emptied.
type LogEnd struct {
	LogID
	ID MessageID
	N  uint64
}

// IsNumbered reports whether entries of a log have numbers.
func (l LogID) IsNumbered() bool {
	switch l.Kind {
	case LogInbox, LogEvents:
		return true
	case LogConversation:
		return !isDirectConversation(l.Owner)
	}
	return false
}

// Moved counts what a move came to.
type Moved struct {
	Entries  int // of logs, copied now
	Messages int // of those, with their bodies
	Records  int
	Checked  int // entries and records that were read from both stores and compared
}

// movePage is how many entries are moved at once.
const movePage = 500

// Move copies all of one store into another, then reads both and compares. What an earlier move copied is left as it is, so that a move
// that was interrupted goes on. tell is called now and then with how far it came. What belongs to running nodes, their leases and whereabouts, is
// left behind.
func Move(ctx context.Context, from, to Movable, tell func(Moved)) (Moved, error) {
	m := mover{from: from, to: to, tell: tell}
	for _, step := range []func(context.Context) error{m.reach, m.logs, m.records, to.Ping, m.check} {
		if err := step(ctx); err != nil {
			return m.Moved, err
		}
	}
	return m.Moved, nil
}

type mover struct {
	Moved
	from, to Movable
	tell     func(Moved)
}

func (m *mover) reach(ctx context.Context) error {
	last := MessageID{}
	if err := m.from.Logs(ctx, func(l LogEnd) error { last = maxID(last, l.ID); return nil }); err != nil {
		return fmt.Errorf("look for logs: %w", err)
	}
	return m.to.Reach(ctx, last)
}

func (m *mover) logs(ctx context.Context) error {
	return m.from.Logs(ctx, func(l LogEnd) error {
		if err := m.log(ctx, l); err != nil {
			return fmt.Errorf("copy log %c of %q: %w", l.Kind, l.Owner, err)
		}
		return nil
	})
}

func (m *mover) log(ctx context.Context, l LogEnd) error {
	there, err := m.to.Last(ctx, []LogID{l.LogID})
	if err != nil {
		return err
	}
	r := Range{After: there[0].ID, Limit: movePage}
	for {
		entries, err := m.from.Read(ctx, l.LogID, r)
		if err != nil {
			return err
		}
		if len(entries) == 0 && (!r.After.IsZero() || l.N == 0) {
			return nil
		}
		messages, err := bodiesOf(ctx, m.from, l.LogID, entries)
		if err != nil {
			return err
		}
		if err := m.to.Extend(ctx, l, entries, messages); err != nil {
			return err
		}
		m.Entries += len(entries)
		m.Messages += len(messages)
		m.tell(m.Moved)
		if len(entries) < movePage {
			return nil
		}
		r.After = entries[len(entries)-1].ID
	}
}

// bodiesOf reads the messages of the entries of a log that holds them.
func bodiesOf(ctx context.Context, s Store, log LogID, entries []Entry) ([]*Message, error) {
	if log.Kind != LogApp && log.Kind != LogPast || len(entries) == 0 {
		return nil, nil
	}
	ids := make([]MessageID, len(entries))
	for i := range entries {
		ids[i] = entries[i].ID
	}
	messages, err := s.Messages(ctx, log.App, ids)
	if err != nil {
		return nil, err
	}
	for i, message := range messages {
		if message == nil {
			return nil, fmt.Errorf("message %s is not there", ids[i])
		}
	}
	return messages, nil
}

// ofNodes reports whether a record is about a node that runs.
func ofNodes(k Key) bool { return k.Space == SpaceNode || k.Space == SpaceWhere }

func (m *mover) records(ctx context.Context) error {
	return m.from.Records(ctx, func(page []Write) error {
		b := &Batch{}
		for _, w := range page {
			if !ofNodes(w.Key) {
				b.Writes = append(b.Writes, w)
			}
		}
		if err := commitWait(ctx, m.to, b); err != nil {
			return fmt.Errorf("copy records: %w", err)
		}
		m.Records += len(b.Writes)
		m.tell(m.Moved)
		return nil
	})
}

// commitWait commits and waits for the outcome.
func commitWait(ctx context.Context, s Store, b *Batch) error {
	done := make(chan error, 1)
	b.Done = func(_ *Batch, err error) { done <- err }
	s.Commit(b)
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ErrMovedOtherwise says that the stores differ after a move.
var ErrMovedOtherwise = errors.New("the stores differ: the other one had something already, or one of them was used meanwhile; move into an empty store")

// check compares the stores both ways.
func (m *mover) check(ctx context.Context) error {
	if err := m.from.Logs(ctx, func(l LogEnd) error { return m.checkLog(ctx, l) }); err != nil {
		return err
	}
	if err := m.to.Logs(ctx, func(l LogEnd) error { return m.checkEnd(ctx, l) }); err != nil {
		return err
	}
	return m.from.Records(ctx, func(page []Write) error { return m.checkRecords(ctx, page) })
}

func (m *mover) checkLog(ctx context.Context, l LogEnd) error {
	for r := (Range{Limit: movePage}); ; {
		want, err := m.from.Read(ctx, l.LogID, r)
		if err != nil {
			return err
		}
		got, err := m.to.Read(ctx, l.LogID, r)
		if err != nil {
			return err
		}
		if len(want) != len(got) {
			return fmt.Errorf("log %c of %q: %w", l.Kind, l.Owner, ErrMovedOtherwise)
		}
		for i := range want {
			if want[i].ID != got[i].ID || want[i].N != got[i].N || want[i].Kind != got[i].Kind || !bytes.Equal(want[i].Value, got[i].Value) {
				return fmt.Errorf("log %c of %q at %s: %w", l.Kind, l.Owner, want[i].ID, ErrMovedOtherwise)
			}
		}
		if err := m.checkBodies(ctx, l.LogID, want); err != nil {
			return err
		}
		m.Checked += len(want)
		m.tell(m.Moved)
		if len(want) < movePage {
			return nil
		}
		r.After = want[len(want)-1].ID
	}
}

func (m *mover) checkBodies(ctx context.Context, log LogID, entries []Entry) error {
	want, err := bodiesOf(ctx, m.from, log, entries)
	if err != nil {
		return err
	}
	got, err := bodiesOf(ctx, m.to, log, entries)
	if err != nil {
		return err
	}
	for i := range want {
		one, err := want[i].AppendBinary(nil)
		if err != nil {
			return err
		}
		other, err := got[i].AppendBinary(nil)
		if err != nil {
			return err
		}
		if !bytes.Equal(one, other) {
			return fmt.Errorf("message %s: %w", want[i].ID, ErrMovedOtherwise)
		}
	}
	return nil
}

// checkEnd checks that a log of the new store is one of the old.
func (m *mover) checkEnd(ctx context.Context, l LogEnd) error {
	ends, err := m.from.Last(ctx, []LogID{l.LogID})
	if err != nil {
		return err
	}
	if ends[0].ID != l.ID && (!ends[0].ID.IsZero() || l.N == 0) {
		return fmt.Errorf("log %c of %q: %w", l.Kind, l.Owner, ErrMovedOtherwise)
	}
	return nil
}

func (m *mover) checkRecords(ctx context.Context, page []Write) error {
	var keys []Key
	var want [][]byte
	for _, w := range page {
		if !ofNodes(w.Key) {
			keys, want = append(keys, w.Key), append(want, w.Value)
		}
	}
	got, err := m.to.Get(ctx, keys)
	if err != nil {
		return err
	}
	still, err := m.from.Get(ctx, keys) // some may have expired
	if err != nil {
		return err
	}
	for i, k := range keys {
		if still[i] != nil && !bytes.Equal(want[i], got[i]) {
			return fmt.Errorf("record %c of %q: %w", k.Space, k.Owner, ErrMovedOtherwise)
		}
	}
	m.Checked += len(keys)
	m.tell(m.Moved)
	return nil
}

// Running returns the names of the nodes that use a store which several can use: those that renew their lease while it looks, for a part of lease.
func Running(ctx context.Context, s Store, lease time.Duration) (names []string, err error) {
	look := func() (map[Key][]byte, error) {
		records, err := s.List(ctx, ListQuery{Space: SpaceNode, Limit: maxNodes})
		if err != nil {
			return nil, fmt.Errorf("look for nodes: %w", err)
		}
		seen := map[Key][]byte{}
		for _, r := range records {
			seen[r.Key] = r.Value
		}
		return seen, nil
	}
	before, err := look()
	if err != nil || len(before) == 0 {
		return nil, err
	}
	select {
	case <-time.After(lease / 3):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	after, err := look()
	for key, value := range after {
		var rec nodeRecord
		if err := json.Unmarshal(value, &rec); err == nil && rec.Gone == 0 && !bytes.Equal(value, before[key]) {
			names = append(names, rec.Name)
		}
	}
	return names, err
}
