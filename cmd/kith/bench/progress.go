package bench

import (
	"fmt"
	"io"
	"sync"
	"time"
)

const progressEvery = 500 * time.Millisecond

// progress is the line on the terminal that tells how far a run is.
type progress struct {
	w     io.Writer // nil: nobody looks
	quit  chan struct{}
	ended sync.WaitGroup

	mu   sync.Mutex
	name string
}

func (p *progress) start(r *run, w io.Writer) {
	if p.w = w; w == nil {
		return
	}
	p.quit = make(chan struct{})
	p.ended.Go(func() { p.draw(r) })
}

// phase names what the run does now.
func (p *progress) phase(name string) {
	p.mu.Lock()
	p.name = name
	p.mu.Unlock()
}

// stop takes the line away.
func (p *progress) stop() {
	if p.w == nil {
		return
	}
	close(p.quit)
	p.ended.Wait()
	p.w = nil
}

func (p *progress) draw(r *run) {
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	at := clock()
	var acked, delivered, opened int64
	for {
		select {
		case <-p.quit:
			_, _ = fmt.Fprint(p.w, "\r\x1b[K") // a terminal that is gone
			return
		case <-tick.C:
		}
		now, a, d, o := clock(), r.acked.Load(), r.delivered.Load(), r.opened.Load()
		second := float64(now-at) / 1e9
		rate := func(n int64) string { return thousands(int64(float64(n) / second)) }
		p.mu.Lock()
		line := fmt.Sprintf("%3.0f s  %-20s %s opened", float64(now-r.began)/1e9, p.name, thousands(o))
		p.mu.Unlock()
		if o > opened {
			line += fmt.Sprintf(" (%s/s)", rate(o-opened))
		}
		if r.sent.Load() > 0 {
			line += fmt.Sprintf("   %s acked/s   %s delivered/s   %s awaited", rate(a-acked), rate(d-delivered), thousands(max(0, r.due.Load()-d)))
		}
		_, _ = fmt.Fprint(p.w, "\r\x1b[K", line)
		at, acked, delivered, opened = now, a, d, o
	}
}

// thousands writes n with commas.
func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
