package broker

import (
	"math"
	"time"

	"golang.org/x/time/rate"
)

// longestDelay is how long a publish of MQTT 3.1.1 is held back at most for its session's or its app's rate; one that would
// have to wait longer is refused.
const longestDelay = 10 * time.Second

// rates are the limiters of one RateConfig; nil where there is no bound.
type rates struct {
	messages, bytes *rate.Limiter
}

func newRates(r RateConfig, messageBytes int) rates {
	var l rates
	if r.MessagesPerSecond > 0 {
		l.messages = rate.NewLimiter(rate.Limit(r.MessagesPerSecond), max(r.Burst, 1))
	}
	if r.BytesPerSecond > 0 {
		l.bytes = rate.NewLimiter(rate.Limit(r.BytesPerSecond), max(int(r.BytesPerSecond), messageBytes))
	}
	return l
}

// appLoad bounds what the sessions of an app do together on this node.
type appLoad struct {
	of struct { // the settings that it is made of
		rate              RateConfig
		messageBytes      int
		connectsPerSecond float64
	}
	rates    rates
	connects *rate.Limiter // nil: no bound
}

// setLoad makes the limiters anew where their settings changed.
func (a *app) setLoad(cfg *AppConfig) {
	l := &appLoad{}
	l.of.rate, l.of.messageBytes, l.of.connectsPerSecond = cfg.AppRate, cfg.MessageBytes, cfg.ConnectsPerSecond
	if old := a.load.Load(); old != nil && old.of == l.of {
		return
	}
	l.rates = newRates(cfg.AppRate, cfg.MessageBytes)
	if cfg.ConnectsPerSecond > 0 {
		l.connects = rate.NewLimiter(rate.Limit(cfg.ConnectsPerSecond), int(math.Ceil(cfg.ConnectsPerSecond)))
	}
	a.load.Store(l)
}

// admitConnect refuses a CONNECT over the app's limits on this node. It is asked after the signature, so that who cannot sign takes nothing
// of the app's share. A device that is connected may come again: it takes its own place. CONNECTs under way at the same moment do not see
// each other.
func (b *Broker) admitConnect(a *app, peer PeerID, device DeviceID) error {
	cfg := a.cfg.Load()
	if cfg.Connections > 0 && a.sessions.Load() >= int64(cfg.Connections) && b.sessionHere(peerKey{a.id, peer}, device) == nil {
		return Errorf(LimitExceeded, "the app has its %d connections to this node", cfg.Connections)
	}
	if l := a.load.Load().connects; l != nil && !l.AllowN(b.now(), 1) {
		return Errorf(RateLimited, "the app's clients connect more than %g times a second; wait before the next try", cfg.ConnectsPerSecond)
	}
	return nil
}

// takeRate takes n messages with a payload of so many bytes from the rates of the session and its app. Over them, MQTT 3.1.1 waits at
// QoS 1 and 2; anything else is refused (spec 10).
func (s *Session) takeRate(cfg *AppConfig, qos byte, n, bytes int) *Error {
	in := &s.in // the limiters of the session belong to the goroutine that calls Publish
	if in.limits != cfg.Rate {
		in.limits, in.rates = cfg.Rate, newRates(cfg.Rate, cfg.MessageBytes)
	}
	app := &s.app.load.Load().rates
	for _, take := range [...]struct {
		from *rate.Limiter
		n    int
		say  string
	}{
		{in.rates.messages, n, "over %g messages a second; slow down"},
		{in.rates.bytes, n * bytes, "over %g bytes a second; slow down"},
		{app.messages, n, "the app sends over %g messages a second; slow down"},
		{app.bytes, n * bytes, "the app sends over %g bytes a second; slow down"},
	} {
		if take.from == nil {
			continue
		}
		if !s.take(take.from, qos, take.n) {
			return Errorf(RateLimited, take.say, float64(take.from.Limit()))
		}
	}
	return nil
}

// take takes n from a limiter, and reports whether it could.
func (s *Session) take(from *rate.Limiter, qos byte, n int) bool {
	now := s.b.now()
	if s.version >= 5 || qos == 0 {
		return from.AllowN(now, n)
	}
	r := from.ReserveN(now, n)
	wait := r.DelayFrom(now)
	if !r.OK() || wait > longestDelay {
		r.CancelAt(now)
		return false
	}
	if wait > 0 {
		s.Submit()
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-s.gone:
		}
	}
	return true
}
