package broker

import (
	"errors"
	"slices"
	"time"
)

const (
	// maxUncommitted bounds the publishes of one session that wait for the store; past it the session is not read.
	maxUncommitted = 4096
	// maxStaged bounds the publishes in one batch.
	maxStaged = 256
	// maxHeld is how long a publish of MQTT 3.1.1 is held while the store is away (spec 10).
	maxHeld = 30 * time.Second
	// heldRetry is how often a held publish is tried again.
	heldRetry = time.Second
	// maxOpenReleases bounds publishes of QoS 2 whose PUBREL has not come.
	maxOpenReleases = 65535
)

// inbound is what a session has received and not answered. It is guarded by the session's lock.
type inbound struct {
	acks        fifo[pendingAck] // in the order of the publishes [MQTT-4.6.0-2]
	first       uint64           // sequence number of the first of acks
	staged      *staged
	uncommitted int
	committed   chan struct{} // signalled when uncommitted falls; made when somebody waits
	releases    map[uint16]struct{}
	holding     bool // MQTT 3.1.1, the store away: what comes is held, in order, and tried again
	held        []*staged
	heldSince   time.Time
	chain       Chain // has what is under way fail behind what will be held
	over        bool  // what was held is given up, and the connection closed: nothing more is taken
	rates       rates
	limits      RateConfig // of rates
	// topic and parsed are those of the last publish, which the next often repeats. They belong to the goroutine that calls Publish.
	topic  string
	parsed topic
}

// pendingAck answers one publish when its turn has come.
type pendingAck struct {
	out     Out
	done    bool
	silent  bool // nothing is sent: QoS 0, or a request's own reply
	request *sendReply
}

// staged is a batch of publishes with the places of their acknowledgements.
type staged struct {
	batch Batch
	acks  []uint64
	again bool // was held
}

// answer queues an acknowledgement whose outcome is known.
func (s *Session) answer(a pendingAck) {
	a.done = true
	s.in.acks.push(a)
	s.drainAcks()
}

// drainAcks moves what is at the front and done to what is sent.
func (s *Session) drainAcks() {
	in := &s.in
	n := 0
	for n < in.acks.len() && in.acks.at(n).done {
		a := in.acks.at(n)
		n++
		if a.request != nil {
			s.replySend(a.request, a.out.ID, a.out.Err)
		}
		if a.silent {
			continue
		}
		if a.out.Err != nil && s.version < 5 {
			a.out.Err = nil // refused, and told in an error event before (spec 10)
		}
		if a.out.QoS == 2 && a.out.Err == nil && len(in.releases) < maxOpenReleases {
			if in.releases == nil {
				in.releases = make(map[uint16]struct{})
			}
			in.releases[a.out.Tag] = struct{}{}
		}
		s.out.ready.push(a.out)
	}
	if n > 0 {
		in.acks.drop(n)
		in.first += uint64(n)
	}
}

// stage adds an append to the session's batch; ack is answered when it is durable. s.mu is held.
func (s *Session) stage(a Append, ack pendingAck) {
	in := &s.in
	if s.ended || in.over {
		return // the client sends it again; behind what the next connection sends it would be out of order
	}
	if in.staged == nil {
		in.staged = s.b.stagedPool.Get().(*staged) //nolint:forcetypeassert // the pool holds nothing else
	}
	in.staged.batch.Appends = append(in.staged.batch.Appends, a)
	in.staged.acks = append(in.staged.acks, in.first+uint64(in.acks.len())) //nolint:gosec // not negative
	in.acks.push(ack)
	in.uncommitted++
}

// Submit commits what Publish staged. Links call it after the packets of each read.
func (s *Session) Submit() {
	s.mu.Lock()
	st := s.in.staged
	s.in.staged = nil
	ready := s.out.ready.len() > 0
	if st != nil && s.in.holding {
		s.in.held = append(s.in.held, st) // behind what is held already
		st = nil
	}
	s.mu.Unlock()
	if st != nil {
		s.submit(st)
	}
	if ready {
		s.link.Wake()
	}
}

// recycle gives the batch back once nothing refers to it.
func (b *Broker) recycle(st *staged) {
	clear(st.batch.Appends)
	st.batch.Appends, st.acks, st.again = st.batch.Appends[:0], st.acks[:0], false
	b.stagedPool.Put(st)
}

func (s *Session) submit(st *staged) {
	if s.version < 5 {
		st.batch.Chain, st.batch.Renews = &s.in.chain, st.again
	}
	st.batch.Done = func(_ *Batch, err error) { s.committed(st, err) }
	s.b.store.Commit(&st.batch)
}

// waitForRoom waits while too much is uncommitted; what is staged is submitted first.
func (s *Session) waitForRoom() {
	for {
		s.mu.Lock()
		full := s.in.uncommitted >= maxUncommitted && !s.ended && !s.in.over
		cut := full || s.in.staged != nil && len(s.in.staged.acks) >= maxStaged
		if full && s.in.committed == nil {
			s.in.committed = make(chan struct{}, 1)
		}
		signal := s.in.committed
		s.mu.Unlock()
		if cut {
			s.Submit()
		}
		if !full {
			return
		}
		select {
		case <-signal:
		case <-s.gone:
			return
		}
	}
}

// committed takes the outcome of a batch: it delivers what is durable and then lets the sender know. It runs in the order of commits.
func (s *Session) committed(st *staged, err error) {
	b := s.b
	if err != nil && s.version < 5 {
		s.hold(st, err)
		return
	}
	var wake []*Session
	if err == nil {
		wake = b.deliver(st.batch.Appends)
	}
	s.mu.Lock()
	for i := range st.batch.Appends {
		a := &st.batch.Appends[i]
		ack := s.in.acks.at(int(st.acks[i] - s.in.first)) //nolint:gosec // within acks
		ack.done = true
		if err != nil {
			ack.out.Err = errStoreAway
			b.counters.refuse(Internal)
		} else if a.Refused {
			s.refuseLate(ack, a.Message.Group)
		} else {
			ack.out.ID = a.ID
		}
	}
	s.in.uncommitted -= len(st.acks)
	s.in.signal()
	s.drainAcks()
	ended := s.ended
	if err == nil && st.again {
		s.holdOver()
	}
	s.mu.Unlock()
	if err != nil && !errors.Is(err, ErrStoreClosed) {
		b.log.Error("publishes were refused: the store failed", "app", s.app.id, "peer", s.peer, "code", Internal, "err", err)
	}
	if !ended && !slices.Contains(wake, s) {
		wake = append(wake, s)
	}
	wakeAll(wake)
	b.recycle(st)
}

// signal lets go who waits for what is uncommitted.
func (in *inbound) signal() {
	if in.committed != nil {
		select {
		case in.committed <- struct{}{}:
		default:
		}
	}
}

func (in *inbound) giveUp() {
	in.over = true
	in.signal()
}

// refuseLate refuses a message whose sender was kicked before it got its place in the log. s.mu is held.
func (s *Session) refuseLate(ack *pendingAck, g GroupID) {
	ack.out.Err = errNotMember(g)
	s.b.counters.refuse(NotAMember)
	if s.version < 5 && !ack.silent {
		p := &Publish{Tag: ack.out.Tag}
		s.out.ready.push(s.errorEvent(p, string(s.app.id)+"/group/"+string(g)+"/"+string(s.peer), ack.out.Err))
	}
}

// hold keeps a failed batch of a 3.1.1 client to try it again, for a while (spec 10). What a closed store refused is never
// acknowledged; the client sends it again.
func (s *Session) hold(st *staged, err error) {
	if errors.Is(err, ErrStoreClosed) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	in := &s.in
	first := !in.holding
	if first {
		in.holding, in.heldSince = true, s.b.now()
		s.b.log.Warn("publishes are held: the store failed", "app", s.app.id, "peer", s.peer, "code", Internal, "err", err)
	}
	if first || st.again { // else it is tried with, or behind, what is tried already: two at once could overtake each other
		time.AfterFunc(heldRetry, s.retryHeld)
	}
	in.held = append(in.held, st)
	slices.SortFunc(in.held, func(x, y *staged) int { return int(x.acks[0]) - int(y.acks[0]) }) //nolint:gosec // small
}

// retryHeld commits all that is held again, in order, as one batch.
func (s *Session) retryHeld() {
	s.mu.Lock()
	held := s.in.held
	s.in.held = nil
	late := s.b.now().Sub(s.in.heldSince) > maxHeld
	ended := s.ended
	if late {
		s.in.giveUp()
	}
	s.mu.Unlock()
	switch {
	case ended:
	case late:
		s.link.Close(CloseStoreAway)
	case len(held) > 0:
		all := &staged{again: true}
		for _, st := range held {
			all.batch.Appends = append(all.batch.Appends, st.batch.Appends...)
			all.acks = append(all.acks, st.acks...)
		}
		s.submit(all)
	}
}

// holdOver goes on after what was held is committed: what came meanwhile is next. s.mu is held.
func (s *Session) holdOver() {
	in := &s.in
	if len(in.held) == 0 {
		in.holding = false
		return
	}
	in.heldSince = s.b.now()
	time.AfterFunc(0, s.retryHeld)
}

// Backlog returns how many acknowledgements, replies and events wait for Next, where a long one counts as several. A link handles no
// packets while there are many: its client does not take what it asked for.
func (s *Session) Backlog() int { return int(s.out.ready.weight.Load()) }

// Release takes the client's PUBREL; OutComplete comes out of Next.
func (s *Session) Release(tag uint16) {
	s.mu.Lock()
	_, open := s.in.releases[tag]
	delete(s.in.releases, tag)
	s.out.ready.push(Out{Kind: OutComplete, Tag: tag, Unknown: !open})
	s.mu.Unlock()
	s.link.Wake()
}
