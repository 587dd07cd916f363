package broker

import (
	"sync"
	"sync/atomic"
)

// maxPresenceKept is how many changes of presence an app keeps for its live readers. One that comes later is told what it missed.
const maxPresenceKept = 4096

// PresenceChange is a peer that came or went.
type PresenceChange struct {
	Peer   PeerID `json:"peer"`
	Status string `json:"status"` // "online" or "offline"
	TS     int64  `json:"ts"`     // Unix milliseconds
}

// feed wakes an app's live readers and holds the last changes of presence for them. While nobody reads it costs a sender one atomic
// load, and as little while those who read are busy. Its lock is a leaf.
type feed struct {
	readers atomic.Int64
	armed   atomic.Bool // somebody waits for signal
	pages   sharedPages

	mu       sync.Mutex
	signal   chan struct{}    // closed by the next wake; nil when nobody waits
	presence []PresenceChange // a ring: change n stands at n % maxPresenceKept
	noted    uint64           // changes so far
}

// wake lets those go on who wait for something new.
func (f *feed) wake() {
	if !f.armed.Load() {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.signal != nil {
		close(f.signal)
		f.signal = nil
		f.armed.Store(false)
	}
}

// wait returns a channel that the next wake closes. Who asks before it looks for what is new misses nothing.
func (f *feed) wait() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.signal == nil {
		f.signal = make(chan struct{})
		f.armed.Store(true)
	}
	return f.signal
}

// note keeps a change of presence for the readers.
func (f *feed) note(c PresenceChange) {
	if f.readers.Load() == 0 {
		return
	}
	f.mu.Lock()
	if len(f.presence) < maxPresenceKept {
		f.presence = append(f.presence, c)
	} else {
		f.presence[f.noted%maxPresenceKept] = c
	}
	f.noted++
	f.mu.Unlock()
	f.wake()
}

// enter adds a reader and returns its place among the changes.
func (f *feed) enter() (at uint64) {
	f.readers.Add(1)
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.noted
}

// leave takes a reader out; the last one takes what was kept along.
func (f *feed) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.readers.Add(-1) == 0 {
		f.presence, f.noted = nil, 0
		f.pages.drop()
	}
}

// changes calls yield with at most limit changes behind place at. It returns the new place and how many came too late to be kept.
func (f *feed) changes(at uint64, limit int, yield func(PresenceChange)) (next, lost uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if kept := uint64(len(f.presence)); f.noted-at > kept {
		lost = f.noted - kept - at
		at += lost
	}
	for ; at < f.noted && limit > 0; limit-- {
		yield(f.presence[at%maxPresenceKept])
		at++
	}
	return at, lost
}

// presenceChanged tells an app's live readers that a peer came or went: the one place to call for whoever learns of it, from a
// session here or from another node. It may be called under the lock of the peer's shard.
func (b *Broker) presenceChanged(key peerKey, online bool, ts int64) {
	a := (*b.apps.Load())[key.app]
	if a == nil || a.feed.readers.Load() == 0 {
		return
	}
	status := presenceOffline
	if online {
		status = presenceOnline
	}
	a.feed.note(PresenceChange{key.peer, status, ts})
}

// wakeReaders tells live readers that an app's log grew.
func (b *Broker) wakeReaders(id AppID) {
	if a := (*b.apps.Load())[id]; a != nil {
		a.feed.wake()
	}
}
