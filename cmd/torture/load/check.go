package load

import (
	"context"
	"maps"
	"time"
)

// Bounds of the wait for what is still on its way when everything stands again.
const (
	returnWithin   = 30 * time.Second
	answersWithin  = time.Minute
	deliveryWithin = 2 * time.Minute
	quietFor       = 10 * time.Second // nothing came for so long: nothing will
	presenceWithin = 30 * time.Second
)

// Report is what became of everything. A message counts once for each device that it was due to, but in Acked and Refused.
type Report struct {
	Acked        int `json:"acknowledged"`
	Refused      int `json:"refused"`
	Due          int `json:"due"`
	Delivered    int `json:"delivered"`
	Waiting      int `json:"waiting"`
	Missed       int `json:"missed"`
	Redelivered  int `json:"redelivered"`
	Unanswered   int `json:"unanswered"`
	Lost         int `json:"lost"`
	Duplicated   int `json:"duplicated"`
	Disordered   int `json:"out_of_order"`
	Misdelivered int `json:"misdelivered"`
	Unrecorded   int `json:"history_lost"`
	Repeated     int `json:"history_duplicated"`
	Presence     int `json:"presence_wrong"`
	Faulty       int `json:"other_faults"`

	Refusals map[string]int `json:"refusals,omitempty"`
	Opens    map[string]int `json:"refused_sessions,omitempty"`
	Examples []string       `json:"examples,omitempty"`
}

// Broken is how many promises were not kept.
func (r *Report) Broken() int {
	return r.Unanswered + r.Lost + r.Duplicated + r.Disordered + r.Misdelivered + r.Unrecorded + r.Repeated + r.Presence + r.Faulty
}

// Check waits for what is on its way and judges. The sending has stopped and everything stands again. Those who departed return at the
// end: what waited for them must come, and what no longer did be told as missed.
func (l *Load) Check(ctx context.Context) (*Report, error) {
	_ = until(ctx, returnWithin, "not all come back", func() bool { return l.allBack() })
	// Whoever waits in vain shows in the counts below.
	_ = until(ctx, answersWithin, "not all is answered", func() bool { return l.awaited() == 0 })
	l.settle(ctx)
	_ = until(ctx, presenceWithin, "presence does not converge", func() bool { return len(l.wrongViews()) == 0 })
	r := &Report{Unanswered: l.awaited()}
	for _, wrong := range l.wrongViews() {
		r.Presence++
		l.counts.wrong("%s", wrong)
	}
	waiting, err := l.waiting(ctx)
	if err != nil {
		return nil, err
	}
	for d := range waiting {
		d.departed.Store(false)
		d.Return()
	}
	_ = until(ctx, returnWithin, "not all of the departed come back", func() bool { return l.allBack() })
	l.settle(ctx)
	l.judge(r, waiting)
	for _, a := range l.apps {
		if err := l.checkHistory(ctx, a, r); err != nil {
			return nil, err
		}
	}
	l.total(r)
	return r, ctx.Err()
}

// allBack reports whether everybody is connected but those who departed.
func (l *Load) allBack() bool {
	for _, d := range l.Devices() {
		if !d.departed.Load() && !d.connected() {
			return false
		}
	}
	return true
}

// awaited is how many messages of devices that are there have no answer.
func (l *Load) awaited() (n int) {
	for _, d := range l.Devices() {
		d.mu.Lock()
		if !d.away {
			n += len(d.flights)
		}
		d.mu.Unlock()
	}
	return n
}

// settle waits until every connected device has all that is due to it, or nothing comes any more.
func (l *Load) settle(ctx context.Context) {
	last, since := int64(-1), time.Now()
	_ = until(ctx, deliveryWithin, "something still comes", func() bool {
		if n := l.counts.delivered.Load(); n != last {
			last, since = n, time.Now()
		}
		return time.Since(since) > quietFor || l.outstanding() == 0
	})
}

// outstanding is how many deliveries connected devices still have to get.
func (l *Load) outstanding() (n int) {
	for _, s := range l.streams {
		for _, d := range s.due {
			if !d.isAway() {
				n += len(s.absent(d))
			}
		}
	}
	return n
}

// absent are the numbers of the acknowledged messages that a device has not got, with their ids.
func (s *Stream) absent(d *Device) map[int]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	numbers := map[int]string{}
	t := d.tracks[s.number]
	for n, m := range s.messages {
		if m.fate != acknowledged {
			continue
		}
		if t != nil {
			if _, got := t.first[n]; got {
				continue
			}
		}
		numbers[n] = m.id
	}
	return numbers
}

// waiting is what the server keeps for devices that are away.
func (l *Load) waiting(ctx context.Context) (map[*Device]map[string]bool, error) {
	all := map[*Device]map[string]bool{}
	for _, d := range l.Devices() {
		if !d.isAway() {
			continue
		}
		items, err := l.queue(ctx, d)
		if err != nil {
			return nil, err
		}
		all[d] = map[string]bool{}
		for _, i := range items {
			number, n, ok := parseText(i.Message)
			if !ok || number >= len(l.streams) || !l.streams[number].isFor(d) {
				l.counts.misdeliver("what waits for %s was not for it", d)
				continue
			}
			all[d][l.streams[number].key(n)] = true
		}
	}
	return all, nil
}

// judge accounts for every acknowledged message at every device that it was due to.
func (l *Load) judge(r *Report, waiting map[*Device]map[string]bool) {
	for _, keys := range waiting {
		r.Waiting += len(keys)
	}
	absent := map[*Device]int{}
	examples := map[*Device]string{}
	for _, s := range l.streams {
		l.checkIDs(s)
		acked := s.with(acknowledged)
		r.Acked += acked
		r.Refused += s.with(refused)
		for _, d := range s.due {
			r.Due += acked
			missing := s.absent(d)
			r.Delivered += acked - len(missing)
			for n := range missing {
				if waiting[d][s.key(n)] {
					r.Lost++
					l.counts.example("%s did not get what waited for it: %s", d, s.key(n))
					continue
				}
				absent[d]++
				examples[d] = s.topic + " " + s.key(n)
			}
		}
	}
	for d, n := range absent {
		told := min(n, d.missedCount())
		r.Missed += told
		if lost := n - told; lost > 0 {
			r.Lost += lost
			l.counts.example("%s did not get %d of which nothing tells, such as %s", d, lost, examples[d])
		}
	}
}

func (d *Device) missedCount() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.missed
}

func (s *Stream) with(f fate) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.messages {
		if m.fate == f {
			n++
		}
	}
	return n
}

// checkIDs compares the order of numbers with that of ids, for messages that one connection had acknowledged.
func (l *Load) checkIDs(s *Stream) {
	var last string
	for n, m := range s.messages {
		if m.fate != acknowledged || m.again {
			continue
		}
		if m.id <= last {
			l.counts.disorder("%s: number %d was accepted later and has an earlier id than one before", s.topic, n)
		}
		last = max(last, m.id)
	}
}

// checkHistory compares history with what was acknowledged.
func (l *Load) checkHistory(ctx context.Context, a *App, r *Report) error {
	seen := map[string]string{}
	err := l.history(ctx, a, func(i item) {
		number, n, ok := parseText(i.Message)
		if !ok || number >= len(l.streams) || l.streams[number].app != a || n >= len(l.streams[number].messages) {
			l.counts.wrong("history of %s holds what nobody sent", a.ID)
			return
		}
		key := l.streams[number].key(n)
		if _, twice := seen[key]; twice {
			r.Repeated++
			l.counts.example("history of %s has %s twice", a.ID, key)
		}
		seen[key] = i.ID
	})
	if err != nil {
		return err
	}
	for _, s := range l.streams {
		if s.app != a {
			continue
		}
		for n, m := range s.messages {
			if id, there := seen[s.key(n)]; m.fate == acknowledged && (!there || id != m.id) {
				r.Unrecorded++
				l.counts.example("history of %s: %s, acknowledged as %s, is there as %q", a.ID, s.key(n), m.id, id)
			}
		}
	}
	return nil
}

// total adds what was counted while the load ran.
func (l *Load) total(r *Report) {
	c := &l.counts
	r.Redelivered = int(c.redelivered.Load())
	r.Duplicated, r.Disordered = int(c.duplicated.Load()), int(c.disordered.Load())
	r.Misdelivered, r.Faulty = int(c.misdelivered.Load()), int(c.faulty.Load())-r.Presence
	c.mu.Lock()
	defer c.mu.Unlock()
	r.Refusals, r.Opens, r.Examples = maps.Clone(c.refusals), maps.Clone(c.opens), c.examples
}
