package api

import (
	"math"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"kith/broker"
)

// rates bound what each app's own servers and each operator ask, by a token bucket each. Who is known is in the settings, so there
// are not more buckets than that.
type rates struct {
	now func() time.Time

	mu  sync.Mutex
	per map[string]*rate.Limiter
}

func newRates(now func() time.Time) *rates {
	return &rates{now: now, per: map[string]*rate.Limiter{}}
}

// take counts a request. It returns how long to wait before the next try; 0 if there is no need to.
func (r *rates) take(who string, bound broker.RequestsConfig) time.Duration {
	if bound.PerSecond <= 0 {
		return 0
	}
	now, limit, burst := r.now(), rate.Limit(bound.PerSecond), max(bound.Burst, 1)
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.per[who]
	if l == nil {
		l = rate.NewLimiter(limit, burst)
		r.per[who] = l
	}
	if l.Limit() != limit || l.Burst() != burst { // the settings changed
		l.SetLimitAt(now, limit)
		l.SetBurstAt(now, burst)
	}
	reserved := l.ReserveN(now, 1)
	wait := reserved.DelayFrom(now)
	if wait > 0 {
		reserved.CancelAt(now)
	}
	return wait
}

// serverOf names the bucket of an app's own servers.
func serverOf(app broker.AppID) string { return "app " + string(app) }

// within refuses a caller who asks more often than the settings say.
func (g *guard) within(c *caller) error {
	who, bound := "operator "+c.operator.name, c.operator.requests
	if c.app != "" {
		cfg, _ := g.apps.App(c.app)
		who, bound = serverOf(c.app), cfg.Requests
	}
	wait := g.rates.take(who, bound)
	if wait == 0 {
		return nil
	}
	p := problem(broker.RateLimited, "more requests with these credentials than "+strconv.FormatFloat(bound.PerSecond, 'g', -1, 64)+" a second")
	p.setHeader("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	return p
}
