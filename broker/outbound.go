package broker

const (
	// maxWindow bounds the deliveries that a client leaves unacknowledged, whatever Receive Maximum it names.
	maxWindow = 512
	// maxFlights bounds the window with acknowledged deliveries behind an unacknowledged one.
	maxFlights = 4096
	// maxPending and maxPendingBytes bound what is in memory for a session before it is sent; past them it reads its logs.
	maxPending      = 512
	maxPendingBytes = 128 << 10
	// maxTransient bounds transient messages and {app}/topic/ messages that wait for a slow reader; past it they are dropped.
	maxTransient = 1024
	// maxConnections is how many connections a message may go unacknowledged on before it is skipped (spec 5).
	maxConnections = 5
	// pageSize is how many entries are read from a log at once.
	pageSize = 128
)

// outbound is what a session has to send. It is guarded by the session's lock.
type outbound struct {
	ready    answers // they wait for no window
	presence map[PeerID]presenceState
	order    fifo[PeerID] // of presence, as they came
	volatile fifo[Out]    // transient and {app}/topic/ messages

	logs    []*logState
	pending fifo[item]   // of all logs, next to be sent first
	bytes   int          // of the payloads in pending
	resend  fifo[flight] // of the connection before, under their old packet identifiers

	flights fifo[flight] // deliveries that await their acknowledgement, in the order sent
	unacked int          // of flights, those not acknowledged
	window  int          // the most that may be
	lastTag uint16
	tags    map[uint16]struct{} // in use
	atOnce  []position          // deliveries at QoS 0 since the last Written
	missed  missed              // not told yet
	told    missed              // told, and the client has acknowledged nothing since: it may not have heard
	toldAt  uint64              // flown at that time
	flown   uint64              // flights so far
	started bool                // the session's first packets are queued: Next may begin
}

// logState is a session's cursor over one log.
type logState struct {
	id     LogID
	cursor Position // all up to here is done with: acknowledged, skipped or missed
	saved  Position // of cursor, what the store has
	sent   Position // the last one taken from pending
	loaded Position // the last one put into pending
	head   uint64   // the last number known to exist
	behind bool     // entries up to head must be read from the log
	more   bool     // behind, and changes of members may follow the last number
	held   bool     // delivery was stopped by UNSUBSCRIBE or the receive mode
	waited uint64   // up to this number entries waited when the session opened
	heard  uint64   // of events: up to here the session knows what each says of its groups
	trail  *trail   // of its deliveries; nil until there is one
	gaps   gaps     // what is passed over because more waited than the queue keeps
}

// Position is a place in a log.
type Position struct {
	N  uint64    `json:"n"`
	ID MessageID `json:"id"`
}

type position struct {
	log *logState
	at  Position
}

// item is a log's entry ready to be sent.
type item struct {
	log   *logState
	at    Position
	msg   *Message // nil: gone, or an event
	event []byte
}

// flight is a delivery that awaits its acknowledgement.
type flight struct {
	n        uint64 // the nth of the connection
	tag      uint16
	qos      byte
	received bool // QoS 2: PUBREC came, PUBREL was sent
	done     bool
	presence bool // not of a log: forgotten with the connection
	attempts int
	log      *logState
	at       Position
	receipt  *Message // its sender wants to know
	topic    *Out     // of {app}/topic/, where the MQTT session outlives the connection
}

// offer hands a new entry of a log to the session, in the order of the log's numbers. It reports whether the link should be woken.
func (s *Session) offer(id LogID, it item) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.offerLocked(id, it)
}

func (s *Session) offerLocked(id LogID, it item) bool {
	if s.ended {
		return false
	}
	log := s.out.log(id)
	if log == nil {
		return false
	}
	it.log = log
	if id.Kind == LogEvents && it.at.N == log.heard+1 && s.agrees(it.event) {
		log.heard++
	}
	if it.msg != nil && it.msg.Kind == KindMembership { // takes no number of its own
		if log.behind || log.held || it.at.N != log.head || !s.out.room() {
			log.behind, log.more = true, true
			return false
		}
		s.out.push(it)
		return true
	}
	if it.at.N <= log.head {
		return false
	}
	next := it.at.N == log.head+1
	log.head = it.at.N
	if log.behind || log.held || !next || !s.out.room() {
		log.behind = true
		return !log.held && s.out.unacked < s.out.window
	}
	s.out.push(it)
	return s.out.unacked < s.out.window
}

func (o *outbound) log(id LogID) *logState {
	for _, l := range o.logs {
		if l.id == id {
			return l
		}
	}
	return nil
}

// sentAgain counts the messages that the connection before left unacknowledged and that this one sends again.
func (o *outbound) sentAgain() (n uint64) {
	for i := range o.resend.all() {
		if f := o.resend.at(i); f.log != nil && f.log.id.Kind != LogEvents && !f.received {
			n++
		}
	}
	return n
}

func (o *outbound) room() bool { return o.pending.len() < maxPending && o.bytes < maxPendingBytes }

func (o *outbound) push(it item) {
	it.log.loaded = it.at
	o.pending.push(it)
	o.bytes += it.size()
}

func (it *item) size() int {
	if it.msg != nil {
		return len(it.msg.Payload)
	}
	return len(it.event)
}

// pop takes the first of pending.
func (o *outbound) pop() {
	o.bytes -= o.pending.at(0).size()
	o.pending.drop(1)
}

// unload puts a log's pending items back: they will be read again.
func (o *outbound) unload(l *logState) {
	o.pending.filter(func(it *item) bool {
		if it.log != l {
			return true
		}
		o.bytes -= it.size()
		return false
	})
	l.loaded = l.sent
	l.behind = l.loaded.N < l.head
}

// tag returns a packet identifier that is not in use, never 0.
func (o *outbound) tag() uint16 {
	if o.tags == nil {
		o.tags = make(map[uint16]struct{})
	}
	for {
		o.lastTag++
		if _, used := o.tags[o.lastTag]; o.lastTag != 0 && !used {
			o.tags[o.lastTag] = struct{}{}
			return o.lastTag
		}
	}
}

// windowOpen reports whether one more delivery above QoS 0 may be sent.
func (o *outbound) windowOpen() bool {
	return o.unacked < o.window && o.flights.len() < maxFlights
}

func (o *outbound) fly(f flight) {
	o.flown++
	f.n = o.flown
	o.flights.push(f)
	o.unacked++
}

// ack marks the delivery with this tag as acknowledged and returns it, nil if there is none.
func (o *outbound) ack(tag uint16) *flight {
	for i := range o.flights.all() {
		f := o.flights.at(i)
		if f.tag != tag || f.done {
			continue
		}
		f.done = true
		o.unacked--
		delete(o.tags, tag)
		acked := *f
		if f.n > o.toldAt {
			o.told = missed{}
		}
		done := 0
		for done < o.flights.len() && o.flights.at(done).done {
			done++
		}
		if done > 0 {
			o.flights.drop(done)
		}
		return &acked
	}
	return nil
}

// settle moves the cursors over everything that is done with.
func (o *outbound) settle() {
	for _, l := range o.logs {
		to := l.sent
		for _, open := range [2][]flight{o.flights.all(), o.resend.all()} {
			for i := range open {
				if f := &open[i]; f.log == l && !f.done && f.at.N <= to.N {
					to = before(f.at)
				}
			}
		}
		for i := range o.atOnce {
			if p := &o.atOnce[i]; p.log == l && p.at.N <= to.N {
				to = before(p.at)
			}
		}
		if to.N > l.cursor.N {
			l.cursor = to
		}
	}
}

// before returns a position just below at, from which reading forward meets at first.
func before(at Position) Position { return Position{N: at.N - 1, ID: at.ID.before()} }

// missed counts messages that a device is not delivered.
type missed struct {
	Count uint64 `json:"count"`
	Since int64  `json:"since"` // Unix milliseconds of the oldest
}

func (m *missed) add(more missed) {
	if more.Count == 0 {
		return
	}
	if m.Count == 0 || more.Since < m.Since {
		m.Since = more.Since
	}
	m.Count += more.Count
}
