package broker

import (
	"cmp"
	"slices"
)

// gap is a range of a log's numbers that a device is not delivered, because more waited than its queue keeps.
type gap struct {
	from uint64
	to   Position // inclusive
}

// gaps are those of one log, in order and apart from each other. They are kept until the cursor has passed them: what was counted as
// missed once is not delivered by a later connection, behind what is newer.
type gaps []gap

// over returns the end of the gap that holds number n.
func (g gaps) over(n uint64) (to Position, ok bool) {
	for i := range g {
		if g[i].from <= n && n <= g[i].to.N {
			return g[i].to, true
		}
	}
	return Position{}, false
}

// count returns how many numbers behind after, up to number to, lie in gaps.
func (g gaps) count(after, to uint64) (n uint64) {
	for i := range g {
		first, last := max(g[i].from, after+1), min(g[i].to.N, to)
		if first <= last {
			n += last - first + 1
		}
	}
	return n
}

// advance returns the number up to which n numbers behind after lie outside of gaps.
func (g gaps) advance(after, n uint64) uint64 {
	to := after + n
	for i := range g {
		if g[i].to.N > after && g[i].from <= to {
			to += g[i].to.N - max(g[i].from, after+1) + 1
		}
	}
	return to
}

// behind returns the gaps that end behind number n.
func (g gaps) behind(n uint64) gaps {
	return slices.DeleteFunc(slices.Clone(g), func(x gap) bool { return x.to.N <= n })
}

// with returns the gaps and more of them, joined where they touch.
func (g gaps) with(more gaps) gaps {
	all := slices.Concat(g, more)
	slices.SortFunc(all, func(a, b gap) int { return cmp.Compare(a.from, b.from) })
	var joined gaps
	for _, x := range all {
		if n := len(joined); n > 0 && x.from <= joined[n-1].to.N+1 {
			if x.to.N > joined[n-1].to.N {
				joined[n-1].to = x.to
			}
			continue
		}
		joined = append(joined, x)
	}
	return joined
}

// gapRecord is a gap in a device's record.
type gapRecord struct {
	Log  string   `json:"log"`
	From uint64   `json:"from"`
	To   Position `json:"to"`
}

// recordGaps notes what the session passed over, and what of that its client may not have heard, also by the time of its DISCONNECT. A
// session that consumes nothing leaves what the one before it left. Gaps that the cursors have passed are noted, too: the store may have
// lost that, and the next open leaves out what lies before the cursors it finds. s.mu is held.
func (s *Session) recordGaps(rec *deviceRecord) {
	if s.mode == receiveNone {
		before := s.before
		if before == nil {
			before = &deviceRecord{}
		}
		rec.Absent, rec.Had, rec.Gaps, rec.Missed = before.Absent, before.Had, before.Gaps, before.Missed
		return
	}
	for _, l := range s.out.logs {
		for _, g := range l.gaps {
			rec.Gaps = append(rec.Gaps, gapRecord{l.id.short(), g.from, g.to})
		}
	}
	rec.Missed = s.out.missed
	rec.Missed.add(s.out.told)
}

// gapsOf returns the recorded gaps of a log.
func (r *deviceRecord) gapsOf(l LogID) (found gaps) {
	if r == nil {
		return nil
	}
	for _, g := range r.Gaps {
		if g.Log == l.short() {
			found = append(found, gap{g.From, g.To})
		}
	}
	return found
}
