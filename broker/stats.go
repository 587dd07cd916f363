package broker

import (
	"maps"
	"sync"
	"sync/atomic"
)

// counters count what a node did since it started.
type counters struct {
	sessions     atomic.Int64
	accepted     atomic.Uint64
	transient    atomic.Uint64
	delivered    atomic.Uint64
	acknowledged atomic.Uint64
	missed       atomic.Uint64

	mu      sync.Mutex
	refused map[Code]uint64
}

func (c *counters) refuse(code Code) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refused == nil {
		c.refused = make(map[Code]uint64)
	}
	c.refused[code]++
}

// NodeInfo is this node as operators see it (spec 11).
type NodeInfo struct {
	Name     string
	Version  string
	Started  int64 // Unix milliseconds
	Sessions int64 // connected now
	Ready    bool  // whether it can serve
	Draining bool  // whether its clients are moved to other nodes, or were
}

// Node describes this node, but for whether it is ready.
func (b *Broker) Node() NodeInfo {
	return NodeInfo{Name: b.node, Version: b.version, Started: b.started, Sessions: b.counters.sessions.Load(), Draining: b.draining()}
}

// refusedByCode returns how often each code was given.
func (c *counters) refusedByCode() map[Code]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.refused)
}

// Stats returns what the node did since it started.
func (b *Broker) Stats() Stats {
	c := &b.counters
	st := Stats{
		Sessions: c.sessions.Load(), Accepted: c.accepted.Load(), Transient: c.transient.Load(), Delivered: c.delivered.Load(),
		Acknowledged: c.acknowledged.Load(), Missed: c.missed.Load(), Refused: c.refusedByCode(),
	}
	for i := range b.shards {
		sh := &b.shards[i]
		sh.mu.Lock()
		for _, p := range sh.peers {
			if p.online && (b.cluster == nil || len(p.sessions) > 0 || p.grace != nil) {
				st.PeersOnline++
			}
		}
		sh.mu.Unlock()
	}
	return st
}
