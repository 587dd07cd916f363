package api

import (
	"context"
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"kith/broker"
	"kith/broker/edge"
)

// apps is what authentication asks the broker.
type apps interface {
	App(id broker.AppID) (broker.AppConfig, bool)
	CheckMasterKey(id broker.AppID, key string) bool
}

// caller is who made a request: an app's own server, or an operator.
type caller struct {
	addr     netip.Addr
	app      broker.AppID // of an app's own server; empty for an operator
	operator knownOperator

	// For the audit log: the request, the app that its path names, and what the operation made.
	about     broker.AppID
	path      string
	requestID string
	target    string
}

// guard knows who may do what.
type guard struct {
	apps      apps
	operators atomic.Pointer[operators]
	throttle  *throttle
	rates     *rates
}

func newGuard(a apps, configured []Operator, now func() time.Time) *guard {
	g := &guard{apps: a, throttle: newThrottle(now), rates: newRates(now)}
	g.setOperators(configured)
	return g
}

func (g *guard) setOperators(configured []Operator) {
	known := newOperators(configured)
	g.operators.Store(&known)
}

const (
	sayWho = "say Authorization: Basic app_id:master_key, or Bearer token"
	// One sentence for an app that is not theirs and one that does not exist.
	otherApp = "these credentials are for other apps"
)

// authenticate finds out who makes a request.
func (g *guard) authenticate(r *http.Request) (*caller, error) {
	c := &caller{addr: edge.ParseAddr(r.RemoteAddr)}
	if wait := g.throttle.refused(c.addr); wait > 0 {
		p := problem(broker.RateLimited, "too many failed logins from this address")
		p.setHeader("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
		return nil, p
	}
	said, known := g.identify(r, c)
	if !said {
		return nil, unauthorized(sayWho)
	}
	if !known {
		g.throttle.failed(c.addr)
		return nil, unauthorized("the credentials are wrong")
	}
	return c, nil
}

// identify notes in c whose credentials a request has. said tells that it has some, known that they are somebody's now.
func (g *guard) identify(r *http.Request, c *caller) (said, known bool) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	switch strings.ToLower(scheme) {
	case "basic":
		var id, key string
		if id, key, known = r.BasicAuth(); known {
			c.app = broker.AppID(id)
			known = g.apps.CheckMasterKey(c.app, key)
		}
	case "bearer":
		c.operator, known = g.operators.Load().find(strings.TrimSpace(token))
	default:
		return false, false
	}
	return true, known
}

// stillMay reports whether who made a request that goes on may still read the app: keys, tokens and apps change meanwhile.
func (g *guard) stillMay(r *http.Request, app broker.AppID) bool {
	c := &caller{}
	_, known := g.identify(r, c)
	return known && g.authorize(c, string(app), RoleViewer) == nil
}

// authorize checks that the caller may do, within the app, what asks for a role. The app is told missing only to those who see it.
func (g *guard) authorize(c *caller, app string, need Role) error {
	id, valid := broker.ParseAppID(app)
	if c.app != "" {
		if c.app != id {
			return problem(broker.Forbidden, otherApp)
		}
		return nil
	}
	if !c.operator.sees(id) {
		return problem(broker.Forbidden, otherApp)
	}
	if err := c.mustBe(need); err != nil {
		return err
	}
	if valid {
		_, valid = g.apps.App(id)
	}
	if !valid {
		return problem(broker.AppNotFound, "there is no such app")
	}
	return nil
}

// mustBe checks that the caller is an operator with a role.
func (c *caller) mustBe(need Role) error {
	switch {
	case c.app != "":
		return problem(broker.Forbidden, "this takes an operator's token")
	case !c.operator.role.allows(need):
		return problem(broker.Forbidden, "this takes the role "+string(need))
	}
	return nil
}

func unauthorized(detail string) *Problem {
	p := problem(broker.Unauthorized, detail)
	p.headers = http.Header{"Www-Authenticate": {`Basic realm="kith", charset="UTF-8"`, `Bearer realm="kith"`}}
	return p
}

type callerKey struct{}

// callerOf returns who makes the request of an operation that asks for a role.
func callerOf(ctx context.Context) *caller { return ctx.Value(callerKey{}).(*caller) }
