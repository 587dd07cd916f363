package api

import (
	"net/netip"
	"sync"
	"time"

	"kith/broker/edge"
)

const (
	maxFailures   = 20 // failed logins within failureWindow before an address is refused
	failureWindow = time.Minute
	blockTime     = time.Minute
	maxAddresses  = 10_000 // remembered; past that the one unheard of for longest is forgotten
)

// throttle refuses addresses that fail to log in too often (spec 13). It goes by the address of the connection alone:
// a header saying otherwise is the caller's own word.
type throttle struct {
	now func() time.Time

	mu     sync.Mutex
	recent edge.Recent[failures]
}

// failures are what an address failed lately.
type failures struct {
	count int
	since time.Time
	until time.Time // it is refused until then
}

func newThrottle(now func() time.Time) *throttle {
	return &throttle{now: now, recent: edge.Recent[failures]{Max: maxAddresses}}
}

// refused returns for how long the address is still refused; 0 if it is not.
func (t *throttle) refused(addr netip.Addr) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.recent.Get(addr)
	if f == nil {
		return 0
	}
	return max(0, f.until.Sub(t.now()))
}

// failed counts a failed login.
func (t *throttle) failed(addr netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f, now := t.recent.Heard(addr), t.now()
	if now.Sub(f.since) >= failureWindow {
		f.count, f.since = 0, now
	}
	f.count++
	if f.count >= maxFailures {
		f.until = now.Add(blockTime)
	}
}
