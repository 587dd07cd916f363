package load

import (
	"fmt"
	"testing"

	"github.com/eclipse/paho.golang/packets"

	"kith/broker"
)

// The judge is itself judged: each promise is broken once, and must be told.

// small is a load of one app, and a direct stream of it with the devices it is for.
func small() (*Load, *Stream) {
	l := New(Options{Apps: []broker.AppID{"one", "two"}, Key: "key", Peers: 8, Groups: 1, Members: 4, Size: 60, Seed: 1})
	return l, l.streams[0]
}

// accept lets the server acknowledge the next n messages of s, under ids in order.
func accept(s *Stream, n int) {
	for range n {
		i := s.next()
		s.answered(i, acknowledged, idOf(i))
	}
}

func idOf(n int) string { return fmt.Sprintf("%06d", n) }

func deliver(d *Device, s *Stream, n int, id string) {
	d.arrived(&packets.Publish{
		Topic: s.topic, QoS: 1, Payload: []byte(s.text(n, d.load.o.Size)),
		Properties: &packets.Properties{User: []packets.User{{Key: "id", Value: id}}},
	})
}

// judged is the report without REST.
func judged(l *Load, waiting map[*Device]map[string]bool) *Report {
	r := &Report{}
	l.judge(r, waiting)
	l.total(r)
	return r
}

func TestTheJudgeTellsEachBrokenPromise(t *testing.T) {
	t.Parallel()
	all := func(s *Stream, n int) {
		for _, d := range s.due {
			for i := range n {
				deliver(d, s, i, idOf(i))
			}
		}
	}
	for _, test := range []struct {
		name string
		run  func(l *Load, s *Stream) (waiting map[*Device]map[string]bool)
		want func(r *Report) int // of what was broken; nil: nothing was
	}{
		{"kept", func(_ *Load, s *Stream) map[*Device]map[string]bool {
			accept(s, 3)
			all(s, 3)
			return nil
		}, nil},
		{"waiting", func(_ *Load, s *Stream) map[*Device]map[string]bool {
			accept(s, 1)
			w := map[*Device]map[string]bool{}
			for _, d := range s.due {
				w[d] = map[string]bool{s.key(0): true}
			}
			all(s, 1)
			return w
		}, nil},
		{"waiting for nothing", func(_ *Load, s *Stream) map[*Device]map[string]bool {
			accept(s, 1)
			w := map[*Device]map[string]bool{}
			for _, d := range s.due {
				w[d] = map[string]bool{s.key(0): true}
			}
			return w
		}, func(r *Report) int { return r.Lost }},
		{"missed", func(_ *Load, s *Stream) map[*Device]map[string]bool {
			accept(s, 2)
			for _, d := range s.due {
				d.arrived(&packets.Publish{Topic: fmt.Sprintf("one/event/%s/missed", d.peer), Payload: []byte(`{"count":2}`)})
			}
			return nil
		}, nil},
		{"delivered again on a later connection", func(_ *Load, s *Stream) map[*Device]map[string]bool {
			accept(s, 1)
			all(s, 1)
			s.due[0].number++
			deliver(s.due[0], s, 0, idOf(0))
			return nil
		}, nil},
		{"lost", func(_ *Load, s *Stream) map[*Device]map[string]bool {
			accept(s, 3)
			all(s, 2)
			return nil
		}, func(r *Report) int { return r.Lost }},
		{"twice on one connection", func(_ *Load, s *Stream) map[*Device]map[string]bool {
			accept(s, 1)
			all(s, 1)
			deliver(s.due[0], s, 0, idOf(0))
			return nil
		}, func(r *Report) int { return r.Duplicated }},
		{"under two ids", func(_ *Load, s *Stream) map[*Device]map[string]bool {
			accept(s, 1)
			all(s, 1)
			s.due[0].number++
			deliver(s.due[0], s, 0, idOf(7))
			return nil
		}, func(r *Report) int { return r.Duplicated }},
		{"out of order", func(_ *Load, s *Stream) map[*Device]map[string]bool {
			accept(s, 2)
			for _, d := range s.due {
				deliver(d, s, 1, idOf(1))
				deliver(d, s, 0, idOf(0))
			}
			return nil
		}, func(r *Report) int { return r.Disordered }},
		{"accepted out of order", func(_ *Load, s *Stream) map[*Device]map[string]bool {
			s.answered(s.next(), acknowledged, idOf(1))
			s.answered(s.next(), acknowledged, idOf(0))
			for _, d := range s.due {
				deliver(d, s, 1, idOf(0))
				deliver(d, s, 0, idOf(1))
			}
			return nil
		}, func(r *Report) int { return r.Disordered }},
		{"to somebody else", func(l *Load, s *Stream) map[*Device]map[string]bool {
			accept(s, 1)
			all(s, 1)
			for _, d := range l.apps[0].devices {
				if !s.isFor(d) && d != s.from {
					deliver(d, s, 0, idOf(0))
					break
				}
			}
			return nil
		}, func(r *Report) int { return r.Misdelivered }},
		{"to the other app", func(l *Load, s *Stream) map[*Device]map[string]bool {
			deliver(l.apps[1].devices[0], s, 0, idOf(0))
			return nil
		}, func(r *Report) int { return r.Misdelivered }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l, s := small()
			r := judged(l, test.run(l, s))
			if test.want == nil {
				if r.Broken() != 0 {
					t.Errorf("promises are said to be broken: %+v", r)
				}
				return
			}
			if test.want(r) == 0 {
				t.Errorf("nothing is told: %+v", r)
			}
		})
	}
}
