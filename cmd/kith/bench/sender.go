package bench

import (
	"encoding/binary"
	"sync/atomic"
)

// flight is a message that awaits its acknowledgement.
type flight struct {
	of  *stream
	n   uint64
	due int64
}

// sender publishes streams over one connection, within a window. Its connection's lock guards it.
type sender struct {
	c       *conn
	streams []*stream
	turn    int      // the stream whose turn it is
	limit   int      // messages to send in all, where there is a limit
	sent    int      // so far
	window  int      // messages that may be open at once
	opened  int      // and are
	flights []flight // by packet identifier - 1
	free    []uint16
	behind  []int64 // paced: when the messages that wait for the window were due
}

// newSender makes c a sender.
func newSender(c *conn) *sender {
	o := &c.run.o
	s := &sender{c: c, window: o.Window, flights: make([]flight, o.Window)}
	for tag := o.Window; tag > 0; tag-- {
		s.free = append(s.free, uint16(tag)) //nolint:gosec // Window is checked
	}
	c.tx = s
	return s
}

// publishTo adds a stream on topic, received by to.
func (s *sender) publishTo(topic string, to ...*conn) {
	r := s.c.run
	st := &stream{id: uint32(len(r.streams)), from: s} //nolint:gosec // far fewer
	st.packet, st.tag, st.at = publishPacket(r.o.Target.Version, topic, r.o.QoS, make([]byte, r.o.Size))
	for i := st.at; i < len(st.packet); i++ {
		st.packet[i] = 'x'
	}
	for _, c := range to {
		t := &track{of: st}
		st.tracks = append(st.tracks, t)
		if c.rx == nil {
			c.rx = make(map[uint32]*track)
		}
		c.rx[st.id] = t
	}
	if r.onDelivery {
		st.open = make([]atomic.Int32, s.window)
	}
	s.streams = append(s.streams, st)
	r.streams = append(r.streams, st)
}

func (s *sender) room() bool {
	return s.opened < s.window && len(s.free) > 0 && (s.limit == 0 || s.sent < s.limit)
}

// offer sends a message that was due, now or as soon as the window allows.
func (s *sender) offer(due int64) {
	s.behind = append(s.behind, due)
	s.fill(due)
}

// fill sends what the window, and the pace, allow.
func (s *sender) fill(now int64) {
	r := s.c.run
	if !r.sending.Load() {
		return
	}
	n := 0
	for s.room() && (!r.paced || n < len(s.behind)) {
		due := now
		if r.paced {
			due = s.behind[n]
		}
		s.send(due)
		n++
	}
	if r.paced {
		s.behind = s.behind[:copy(s.behind, s.behind[n:])]
	}
	r.sent.Add(int64(n))
	if r.o.QoS == 0 && n > 0 {
		r.due.Add(int64(n) * s.receivers())
	}
}

func (s *sender) send(due int64) {
	st := s.streams[s.turn]
	if s.turn++; s.turn == len(s.streams) {
		s.turn = 0
	}
	h := head{run: s.c.run.id, stream: st.id, n: st.next, due: due}
	h.put(st.packet[st.at:])
	if st.tag >= 0 {
		last := len(s.free) - 1
		tag := s.free[last]
		s.free = s.free[:last]
		s.flights[tag-1] = flight{st, st.next, due}
		binary.BigEndian.PutUint16(st.packet[st.tag:], tag)
	} else {
		st.due.add(st.next)
	}
	if st.open != nil {
		st.open[st.next%uint64(len(st.open))].Store(int32(len(st.tracks))) //nolint:gosec // connections
	}
	st.next++
	s.sent++
	s.opened++
	s.c.out = append(s.c.out, st.packet...)
}

// acked takes an acknowledgement; it returns when the message was due, and false for one of something else.
func (s *sender) acked(tag uint16, ok bool) (due int64, ours bool) {
	if tag == 0 || int(tag) > len(s.flights) || s.flights[tag-1].of == nil {
		return 0, false
	}
	f := s.flights[tag-1]
	s.flights[tag-1].of = nil
	s.free = append(s.free, tag)
	if f.of.open == nil || !ok {
		s.opened--
	}
	if ok {
		f.of.due.add(f.n)
	}
	return f.due, true
}

// receivers is how many get each message; all streams of a sender have the same number.
func (s *sender) receivers() int64 { return int64(len(s.streams[0].tracks)) }
