package api

import (
	"sync"

	"kith/broker"
)

// places bound how much of something goes on at once: for all apps together, and for each, so that none takes the share of others.
type places struct {
	most, mostOfApp int

	mu    sync.Mutex
	taken int
	of    map[broker.AppID]int // those taken
}

func newPlaces(most, mostOfApp int) *places {
	return &places{most: most, mostOfApp: mostOfApp, of: make(map[broker.AppID]int)}
}

// take takes a place for an app, if there is one; leave gives it back.
func (p *places) take(app broker.AppID) (leave func(), ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken >= p.most || p.of[app] >= p.mostOfApp {
		return nil, false
	}
	p.taken++
	p.of[app]++
	return func() { p.leave(app) }, true
}

func (p *places) leave(app broker.AppID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	if p.of[app]--; p.of[app] == 0 {
		delete(p.of, app)
	}
}
