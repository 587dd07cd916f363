package redisbus

import (
	"time"

	"kith/broker"
)

// inbox gives the notes of frames to the receiver, each frame once and in order, and tells it what is missing. It belongs to the
// goroutine that reads.
type inbox struct {
	receiver broker.BusReceiver
	meter    *meter
	senders  map[broker.NodeID]*sender
}

// sender is a node that was heard.
type sender struct {
	id             broker.NodeID
	stream, newest uint64 // the newest frame's
	heard          time.Time
}

// idle implements idler.
func (s *sender) idle() (since time.Time, ok bool) { return s.heard, true }

func newInbox(r broker.BusReceiver, m *meter) *inbox {
	return &inbox{receiver: r, meter: m, senders: map[broker.NodeID]*sender{}}
}

// take takes what came over the channel, whoever sent it.
func (in *inbox) take(frame []byte) {
	h, notes, err := parseHeader(frame)
	if err != nil {
		in.lost("")
		return
	}
	from, gap, late := in.follow(h)
	if late {
		in.meter.late.Add(1)
		return
	}
	count, err := countNotes(notes)
	if gap || err != nil {
		in.lost(from)
	}
	in.meter.received(count, len(frame))
	for range count {
		var note []byte
		note, notes, _ = cutNote(notes) // countNotes read it
		in.receiver.Receive(from, note)
	}
}

// follow notes a frame's number. Before it is a gap when not all of its stream was seen; it is late when its number has passed.
func (in *inbox) follow(h header) (from broker.NodeID, gap, late bool) {
	now := time.Now()
	s := in.senders[broker.NodeID(h.from)]
	switch {
	case s == nil:
		makeRoom(in.senders, now) // any sender may be forgotten
		s = &sender{id: broker.NodeID(h.from)}
		in.senders[s.id] = s
		gap = h.sequence != 1
	case s.stream != h.stream:
		gap = true
	case h.sequence <= s.newest:
		return s.id, false, true
	default:
		gap = h.sequence != s.newest+1
	}
	s.stream, s.newest, s.heard = h.stream, h.sequence, now
	return s.id, gap, false
}

func (in *inbox) lost(from broker.NodeID) {
	in.meter.lost.Add(1)
	in.receiver.Lost(from)
}
