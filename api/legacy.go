package api

import (
	"net/http"
	"time"

	"kith/api/legacy"
	"kith/broker"
)

// legacy is the calls below /1.1, under the same rules as those of /v1: throttle, rates, room for more, audit log, statuses.
func (s *Server) legacy() http.Handler {
	return legacy.New(legacy.Options{
		Broker: s.broker, Logger: s.log, Now: s.now, Spare: s.spare, Audit: s.keepAudit,
		Status: func(code broker.Code) int { return problem(code, "").Status },
		Wait:   s.guard.throttle.refused, Failed: s.guard.throttle.failed, Over: s.guard.over,
	})
}

// over counts a call of an app's server, or of those who have the app key, who together have a bucket of their own: what clients ask must
// not keep the app's server out.
func (g *guard) over(app broker.AppID, master bool) time.Duration {
	who := serverOf(app)
	if !master {
		who = "app key of " + string(app)
	}
	cfg, _ := g.apps.App(app)
	return g.rates.take(who, cfg.Requests)
}
