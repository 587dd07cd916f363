package broker

import (
	"context"
	"time"
)

// hadMargin is how long before its end a session counts as having had all of the groups in whose logs it has no place. What it was
// offered of a group later gave it a place there; what it was not is younger than this.
const hadMargin = time.Minute

// takeOverDeadline is how long an open waits for what the older connection has not committed yet.
const takeOverDeadline = 5 * time.Second

// takeOver ends the device's older session, if there is one, and waits until what it published is committed. taken tells that it was still connected.
func (b *Broker) takeOver(ctx context.Context, s *Session) (old *Session, taken bool, connected []DeviceID) {
	sh := b.shardOf(s.key())
	sh.mu.Lock()
	p := sh.peers[s.key()]
	if p != nil {
		old = p.sessionOf(s.device)
		for _, o := range p.sessions {
			if o != old {
				connected = append(connected, o.device)
			}
		}
	}
	if p != nil {
		for _, h := range p.away {
			connected = append(connected, h.device)
		}
	}
	sh.mu.Unlock()
	if old == nil {
		return nil, false, connected
	}
	if taken = old.finish(EndServer); taken {
		old.mu.Lock()
		old.over = s.clean
		old.mu.Unlock()
		old.link.Close(CloseTakenOver)
		b.log.Debug("session taken over", "app", s.app.id, "peer", s.peer, "device", s.device)
	} else {
		old.ending.Lock()   // what it leaves goes to the store before what this one writes
		old.ending.Unlock() //nolint:staticcheck // to have waited is all
	}
	ctx, cancel := context.WithTimeout(ctx, takeOverDeadline)
	defer cancel()
	old.awaitCommitted(ctx)
	return old, taken, connected
}

// finish marks the session as ended; it reports whether it was not before.
func (s *Session) finish(how EndReason) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return false
	}
	s.ended, s.how, s.endedAt = true, how, s.b.now()
	if s.mode != receiveNone {
		s.had = FirstIDAt(s.endedAt.Add(-hadMargin).UnixMilli())
	}
	close(s.gone)
	return true
}

// awaitCommitted waits until nothing the session published is uncommitted, or for ctx.
func (s *Session) awaitCommitted(ctx context.Context) {
	for {
		s.mu.Lock()
		open := s.in.uncommitted > 0 && !s.in.holding
		if open && s.in.committed == nil {
			s.in.committed = make(chan struct{}, 1)
		}
		signal := s.in.committed
		s.mu.Unlock()
		if !open {
			return
		}
		select {
		case <-signal:
		case <-ctx.Done():
			return
		}
	}
}
