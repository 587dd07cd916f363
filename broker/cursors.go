package broker

import (
	"context"
	"sync"
	"time"
)

// dirtySet holds the sessions whose cursors moved since they were saved. Only those are visited: what saving costs grows with
// the traffic, not with the connections.
type dirtySet struct {
	mu       sync.Mutex
	sessions []*Session
	wake     chan struct{}
}

func (d *dirtySet) add(s *Session) {
	d.mu.Lock()
	d.sessions = append(d.sessions, s)
	first := len(d.sessions) == 1
	d.mu.Unlock()
	if first {
		select {
		case d.wake <- struct{}{}:
		default:
		}
	}
}

func (d *dirtySet) take() []*Session {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.sessions
	d.sessions = nil
	return s
}

// saveCursors writes, at most once a second, how far sessions came, until ctx ends. A crash in between delivers a second's
// messages again and loses none.
func (b *Broker) saveCursors(ctx context.Context) {
	const (
		perBatch  = 500
		saveEvery = time.Second
	)
	timer := time.NewTimer(saveEvery)
	defer timer.Stop()
	for {
		select {
		case <-b.dirty.wake:
		case <-ctx.Done():
			return
		}
		timer.Reset(saveEvery)
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		var writes []Write
		for _, s := range b.dirty.take() {
			s.mu.Lock()
			s.dirty = false
			if !s.ended {
				s.out.settle()
				writes = append(writes, s.cursorWrites(false)...)
				writes = append(writes, s.trailWrites()...)
			}
			s.mu.Unlock()
			if len(writes) >= perBatch {
				b.commitLazily(&Batch{Writes: writes}, nil)
				writes = nil
			}
		}
		if len(writes) > 0 {
			b.commitLazily(&Batch{Writes: writes}, nil)
		}
	}
}

// cursorWrites returns the writes for the cursors that moved since they were saved, or for all. A cursor that never moved needs
// none, but for a group's log: a known device without one begins at the beginning of its own logs. In a cluster a cursor is moved only
// while the device is this node's: a write that was held up on its way would move it back, before a gap that was passed. s.mu is held.
func (s *Session) cursorWrites(all bool) (writes []Write) {
	expires := s.b.now().Add(2 * s.app.cfg.Load().Queue.Age).UnixMilli()
	for _, l := range s.out.logs {
		if l.cursor.N == 0 && l.id.Kind != LogConversation || !all && l.cursor == l.saved {
			continue
		}
		l.saved = l.cursor
		at := encodePosition(l.cursor)
		writes = append(writes,
			s.guarded(Write{Key: cursorKey(s.app.id, s.peer, s.device, l.id), Value: at, Expires: expires}),
			Write{Key: cursorKey(s.app.id, s.peer, "", l.id), Value: encodePosition(s.far.raise(l.id, l.cursor))})
	}
	return writes
}

// furthest holds, for each log, the place of the furthest of a peer's devices: where a device never seen starts.
type furthest struct {
	mu sync.Mutex
	at map[LogID]Position
}

// raise notes that a device is at p and returns the furthest place.
func (f *furthest) raise(l LogID, p Position) Position {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.at == nil {
		f.at = make(map[LogID]Position)
	}
	if p.N > f.at[l].N {
		f.at[l] = p
	}
	return f.at[l]
}

// raiseFurthest notes how far the session is now.
func (s *Session) raiseFurthest() {
	for _, l := range s.settled() {
		s.far.raise(l.id, l.cursor)
	}
}
