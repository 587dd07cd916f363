package edge

import (
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"kith/broker"
)

const (
	maxRemembered = 50_000      // addresses whose rate and failures are remembered
	failureWindow = time.Minute // in which failed signatures count together
	longestBan    = time.Hour   // that failed signatures lead to
	// politeMargin is how many connections over a limit, as a share of it, are still told why they are refused.
	politeMargin = 20
	leastMargin  = 16
)

// Guard counts connections by address and decides who may open a session. All methods are safe for concurrent use, and
// those of a nil Guard let everybody pass.
type Guard struct {
	log    *slog.Logger
	now    func() time.Time
	memory *Memory

	mu      sync.Mutex
	limits  Limits
	exempt  []netip.Prefix
	total   int                  // connections open
	open    map[netip.Prefix]int // by subscriber, those not exempt
	history Recent[conduct]
	stats   Stats
}

// conduct is how an address behaved lately.
type conduct struct {
	connects *rate.Limiter
	perSec   float64 // of connects
	burst    int
	failures int       // since
	since    time.Time // of the first of failures
	bans     int       // that failures have led to in a row
	banned   time.Time // until when
}

// NewGuard returns a guard with these limits. A nil log is silent, a nil now is time.Now.
func NewGuard(l Limits, log *slog.Logger, now func() time.Time) *Guard {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if now == nil {
		now = time.Now
	}
	g := &Guard{log: log, now: now, memory: NewMemory(now), open: make(map[netip.Prefix]int), history: Recent[conduct]{Max: maxRemembered}}
	g.SetLimits(l)
	return g
}

// SetLimits replaces the limits. Connections that are open stay.
func (g *Guard) SetLimits(l Limits) {
	if l.Connections == 0 {
		l.Connections = descriptorLimit()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limits, g.exempt = l, parsePrefixes(l.Exempt)
	g.memory.SetCeiling(int64(l.MemoryBytes))
}

// accept counts a connection to the node; false: there is no place for it.
func (g *Guard) accept() bool {
	if g == nil {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.total >= withMargin(g.limits.Connections) {
		g.stats.Cut++
		return false
	}
	g.total++
	return true
}

// enter counts a connection under its client's address, unless that is exempt. Not ok: there are far too many from there.
func (g *Guard) enter(addr netip.Addr) (counted, ok bool) {
	if g == nil {
		return false, true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if contains(g.exempt, addr) {
		return false, true
	}
	from := Subscriber(addr)
	if limit := g.limits.Address.Connections; limit > 0 && g.open[from] >= withMargin(limit) {
		g.stats.Cut++
		return false, false
	}
	g.open[from]++
	return true, true
}

// leave undoes accept, and enter where that counted the address; it is the zero Addr where not.
func (g *Guard) leave(counted netip.Addr) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.total--
	if !counted.IsValid() {
		return
	}
	from := Subscriber(counted)
	if g.open[from]--; g.open[from] <= 0 {
		delete(g.open, from)
	}
}

func withMargin(limit int) int { return limit + max(limit/politeMargin, leastMargin) }

// connect decides whether a client may try to open a session.
func (g *Guard) connect(addr netip.Addr) *broker.Error {
	if g == nil {
		return nil
	}
	if g.memory.Short() {
		g.count(&g.stats.Memory)
		return ErrMemory
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.total > g.limits.Connections {
		g.stats.Full++
		return errFull
	}
	if contains(g.exempt, addr) {
		return nil
	}
	limit, now := &g.limits.Address, g.now()
	c := g.history.Heard(addr)
	if wait := c.banned.Sub(now); wait > 0 {
		g.stats.Banned++
		return broker.Errorf(broker.Banned, "this address failed too often; try again in %v", wait.Round(time.Second))
	}
	if n := g.open[Subscriber(addr)]; limit.Connections > 0 && n > limit.Connections {
		g.stats.Connections++
		return broker.Errorf(broker.LimitExceeded, "this address has over %d connections; see limits.address and limits.exempt", limit.Connections)
	}
	if limit.ConnectsPerSecond > 0 && !c.limiter(limit).AllowN(now, 1) {
		g.stats.Rate++
		return broker.Errorf(broker.RateLimited, "this address connects more than %g times a second; wait before the next try", limit.ConnectsPerSecond)
	}
	return nil
}

func (c *conduct) limiter(l *AddressLimits) *rate.Limiter {
	if c.connects == nil || c.perSec != l.ConnectsPerSecond || c.burst != l.Burst {
		c.connects = rate.NewLimiter(rate.Limit(l.ConnectsPerSecond), l.Burst)
		c.perSec, c.burst = l.ConnectsPerSecond, l.Burst
	}
	return c.connects
}

// failed counts a wrong signature, and bans the address for a while when there were too many.
func (g *Guard) failed(addr netip.Addr) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	limit := &g.limits.Address
	if limit.Failures == 0 || contains(g.exempt, addr) {
		return
	}
	c, now := g.history.Heard(addr), g.now()
	if now.Sub(c.since) >= failureWindow {
		c.failures, c.since = 0, now
	}
	if now.Sub(c.banned) > longestBan {
		c.bans = 0
	}
	if c.failures++; c.failures < limit.Failures {
		return
	}
	length := min(limit.Ban<<min(c.bans, 16), longestBan)
	c.banned, c.failures = now.Add(length), 0
	c.bans++
	g.stats.Bans++
	g.log.Warn("address banned for failed signatures", "address", Subscriber(addr).String(), "for", length, "time", c.bans)
}

func (g *Guard) count(n *uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	*n++
}

// Overloaded says that memory is short, so that new work must be refused; nil otherwise.
func (g *Guard) Overloaded() error {
	if g != nil && g.memory.Short() {
		g.count(&g.stats.Memory)
		return ErrMemory
	}
	return nil
}

// Stats is what a guard counted since its start.
type Stats struct {
	Open        int    // connections now
	Cut         uint64 // closed unheard: far over a limit
	Full        uint64 // CONNECTs refused: the node has all the connections that it may
	Memory      uint64 // CONNECTs and calls refused: memory is short
	Connections uint64 // CONNECTs refused: too many connections from an address
	Rate        uint64 // CONNECTs refused: too fast from an address
	Banned      uint64 // CONNECTs refused: from an address that failed too often
	Bans        uint64 // bans for failed signatures
	MemoryNeed  int64  // bytes
	MemoryLimit int64  // bytes; 0: none
}

// Stats returns the counts.
func (g *Guard) Stats() Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.stats
	s.Open = g.total
	s.MemoryNeed, s.MemoryLimit = g.memory.State()
	return s
}
