package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"kith/broker"
)

// AuditConfig says how long the audit log is kept.
type AuditConfig struct {
	Age time.Duration `yaml:"age"`
}

// AuditEntry is a change that somebody made over REST, or was refused.
type AuditEntry struct {
	ID        broker.MessageID `json:"id" doc:"Sorts by time." example:"054s30bo800000000000"`
	TS        int64            `json:"ts" doc:"When it was done, Unix milliseconds." example:"1416290728000"`
	Who       string           `json:"who" doc:"The operator's name, or the app whose master key was used." example:"ops"`
	Kind      string           `json:"kind" enum:"operator,app" doc:"What who is." example:"operator"`
	Action    string           `json:"action" doc:"The operationId of this document." example:"ban-peer"`
	App       broker.AppID     `json:"app,omitempty" doc:"The app it is about." example:"demo"`
	Method    string           `json:"method" doc:"Of the request." example:"PUT"`
	Path      string           `json:"path" doc:"Of the request: says whom or what it is about." example:"/v1/apps/demo/bans/mallory"`
	Target    string           `json:"target,omitempty" doc:"What was made: the group's or the message's id; for whom was signed." example:"team"`
	Address   string           `json:"address,omitempty" doc:"Where the request came from." example:"192.0.2.7"`
	RequestID string           `json:"request_id,omitempty" doc:"As X-Request-Id told it." example:"5f2b8c0a9d3e4f61"`
	Outcome   string           `json:"outcome" enum:"done,refused,failed" doc:"What became of it; of what failed a part may be done." example:"done"`
	Status    int              `json:"status" doc:"The HTTP status." example:"200"`
	Code      int              `json:"code,omitempty" doc:"The error's code, where it was not done." example:"4119"`
}

func auditEntryOf(e broker.AuditEntry) AuditEntry {
	kind, outcome := "app", "done"
	if e.Operator {
		kind = "operator"
	}
	switch {
	case e.Status >= http.StatusInternalServerError:
		outcome = "failed"
	case e.Status >= http.StatusBadRequest:
		outcome = "refused"
	}
	return AuditEntry{
		e.ID, e.TS, e.Who, kind, e.Action, e.App, e.Method, e.Path, e.Target, e.Address, e.RequestID, outcome, e.Status, e.Code,
	}
}

// AuditQuery selects entries of the audit log.
type AuditQuery struct {
	Who    string `query:"who" doc:"What this operator, or this app's own server, did." example:"ops"`
	Action string `query:"action" doc:"Changes of this kind: an operationId of this document." example:"ban-peer"`
	Since  int64  `query:"since" minimum:"0" doc:"Not before this time, Unix milliseconds." example:"1416290728000"`
	Until  int64  `query:"until" minimum:"0" doc:"Before this time, Unix milliseconds." example:"1416377128000"`
	PageQuery
}

// AuditInput selects entries of all apps, or of one.
type AuditInput struct {
	App string `query:"app" doc:"Changes in this app." example:"demo"`
	AuditQuery
}

// AppAuditInput selects entries of one app.
type AppAuditInput struct {
	AppPath
	AuditQuery
}

func (s *Server) registerAudit() {
	example := Page[AuditEntry]{Items: []AuditEntry{auditEntryOf(exampleAuditEntry())}, Next: auditList.cursor(exampleAuditEntry().ID.String())}
	const about = "Who changed what over REST, when, from where and with what outcome, the newest first. " +
		"What an app's own server sends and signs is not in it: history holds the one, and the other changes nothing."
	register(s, operation{
		id: "list-audit", method: http.MethodGet, path: "/v1/audit", tag: "operators", role: RoleAdmin,
		summary: "Read the audit log", description: about + " Of the apps that the operator is given.",
		errors: []broker.Code{broker.AppNotFound}, answer: example,
	}, func(ctx context.Context, in *AuditInput) (*Answer[Page[AuditEntry]], error) {
		apps, err := s.auditedApps(callerOf(ctx), in.App)
		if err != nil {
			return nil, err
		}
		return s.audited(ctx, apps, &in.AuditQuery)
	})
	register(s, operation{
		id: "list-app-audit", method: http.MethodGet, path: "/v1/apps/{app}/audit", tag: "operators", role: RoleAdmin,
		summary: "Read an app's audit log", description: about, answer: example,
	}, func(ctx context.Context, in *AppAuditInput) (*Answer[Page[AuditEntry]], error) {
		return s.audited(ctx, []broker.AppID{in.app()}, &in.AuditQuery)
	})
}

// auditedApps are those whose log an operator reads. Who sees all apps sees what was tried in none as well.
func (s *Server) auditedApps(c *caller, app string) (apps []broker.AppID, err error) {
	if app != "" {
		return []broker.AppID{broker.AppID(app)}, s.guard.authorize(c, app, RoleAdmin)
	}
	for _, a := range s.broker.Apps() {
		if c.operator.sees(a.ID) {
			apps = append(apps, a.ID)
		}
	}
	if c.operator.sees("") {
		apps = append(apps, "")
	}
	return apps, nil
}

func (s *Server) audited(ctx context.Context, apps []broker.AppID, in *AuditQuery) (*Answer[Page[AuditEntry]], error) {
	q := broker.AuditQuery{Apps: apps, Who: in.Who, Action: in.Action, Since: in.Since, Until: in.Until, Limit: in.Limit}
	last, err := auditList.last(in.Cursor)
	if err == nil && last != "" {
		q.After, err = broker.ParseMessageID(last)
	}
	if err != nil {
		return nil, malformed("cursor is not one that this list gave out")
	}
	found, next, err := s.broker.AuditLog(ctx, q)
	if err != nil {
		return nil, err
	}
	page := Page[AuditEntry]{Items: make([]AuditEntry, 0, len(found))}
	for _, e := range found {
		page.Items = append(page.Items, auditEntryOf(e))
	}
	if !next.IsZero() {
		page.Next = auditList.cursor(next.String())
	}
	return answer(page), nil
}

// changes reports whether an operation by somebody belongs in the audit log.
func (o *operation) changes(c *caller) bool {
	switch {
	case o.method == http.MethodGet || o.role == "" || o.reads:
		return false
	case o.routine:
		return c.app == "" // an operator who does what is an app's own servers' daily work
	}
	return true
}

const (
	auditTimeout = 5 * time.Second
	// maxAuditPath is how many bytes of a path an entry keeps; a peer's id, percent-encoded, has at most 600.
	maxAuditPath = 1024
)

// audit keeps what an operation came to, err its refusal. It is durable when this returns; a change that could not be kept here is told
// in the log.
func (s *Server) audit(ctx context.Context, o *operation, c *caller, err error) {
	if !o.changes(c) {
		return
	}
	e := broker.AuditEntry{
		Who: c.operator.name, Operator: c.app == "", Action: o.id, Method: o.method, Path: c.path,
		Target: c.target, RequestID: c.requestID, Status: http.StatusOK,
	}
	if !e.Operator {
		e.Who = string(c.app)
	}
	if c.addr.IsValid() {
		e.Address = c.addr.String()
	}
	if _, known := s.broker.App(c.about); known {
		e.App = c.about
	}
	if err != nil {
		e.Status, e.Code = http.StatusInternalServerError, http.StatusInternalServerError
		if p, ok := errors.AsType[*Problem](err); ok {
			e.Status, e.Code = p.Status, p.Code
		}
	}
	s.keepAudit(ctx, e)
}

// keepAudit keeps an entry of the audit log.
func (s *Server) keepAudit(ctx context.Context, e broker.AuditEntry) {
	e.Path = e.Path[:min(len(e.Path), maxAuditPath)]
	// The change is made, whether or not the caller waits for the answer.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditTimeout)
	defer cancel()
	if err := s.broker.Audit(ctx, e, s.auditAge); err != nil {
		s.log.Error("a change is missing in the audit log", "who", e.Who, "action", e.Action, "path", e.Path, "address", e.Address,
			"status", e.Status, "request_id", e.RequestID, "err", err)
	}
}

func exampleAuditEntry() broker.AuditEntry {
	return broker.AuditEntry{
		ID: broker.FirstIDAt(1416290728000), TS: 1416290728000, App: "demo", Who: "ops", Operator: true, Action: "ban-peer",
		Method: http.MethodPut, Path: "/v1/apps/demo/bans/mallory", Address: "192.0.2.7", RequestID: "5f2b8c0a9d3e4f61", Status: http.StatusOK,
	}
}
