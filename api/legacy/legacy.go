package legacy

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/go-chi/chi/v5"

	"kith/broker"
)

// Options are what the calls work with. All of them are needed; what they refuse, log and count is as under /v1.
type Options struct {
	Broker *broker.Broker
	Logger *slog.Logger
	Now    func() time.Time
	Status func(broker.Code) int                             // the HTTP status of a code
	Wait   func(netip.Addr) time.Duration                    // for how long an address is refused after failed logins; 0: it is not
	Failed func(netip.Addr)                                  // counts a failed login
	Over   func(app broker.AppID, master bool) time.Duration // counts a call; for how long who asks too often is refused; 0: not
	Spare  func() error                                      // why nothing more can be taken on now, as a *broker.Error; nil: it can
	Audit  func(context.Context, broker.AuditEntry)          // keeps a change, or an attempt at one
}

// maxBody bounds a request's body, in bytes (spec 13).
const maxBody = 16 << 10

type calls struct{ Options }

// New returns the handler of everything below /1.1.
func New(o Options) http.Handler {
	a := &calls{o}
	r := chi.NewRouter()
	r.NotFound(func(w http.ResponseWriter, _ *http.Request) {
		statusRefusal(http.StatusNotFound, "there is no such call here; docs/migrating.md lists those that there are").write(w)
	})
	r.MethodNotAllowed(func(w http.ResponseWriter, _ *http.Request) {
		statusRefusal(http.StatusMethodNotAllowed, "this call does not take this method").write(w)
	})
	for path, o := range map[string]operation{
		"GET /rtm/messages/logs":                         {do: a.history},
		"GET /rtm/messages/history":                      {do: a.history},
		"DELETE /rtm/messages/logs":                      {do: a.deleteRecord, master: true, audit: "delete-message"},
		"POST /rtm/messages":                             {do: a.send, master: true, adds: true},
		"GET /rtm/messages/unread/{peer}":                {do: a.unread},
		"GET /rtm/messages/unread/{peer}/{conversation}": {do: a.unread},
		"POST /rtm/online":                               {do: a.online, master: true},
		"GET /rtm/transient_group/onlines":               {do: a.onlines},
		"POST /rtm/client/kick":                          {do: a.kick, master: true, audit: "kick-peer"},
		"GET /classes/AVOSRealtimeGroups":                {do: a.groups},
		"GET /classes/AVOSRealtimeGroups/{id}":           {do: a.group},
	} {
		r.HandleFunc(path, a.answer(o))
	}
	return r
}

// operation is one of the calls.
type operation struct {
	do     func(*call) (any, error)
	master bool   // the app key does not open it
	adds   bool   // it is refused while there is no room for more
	audit  string // its name in the audit log, that of the same call of /v1; empty: it changes nothing, or is what servers do all day
}

// call is a request of a caller that was let in.
type call struct {
	*http.Request
	caller
	query  url.Values
	target string // what it changed, for the audit log
}

// streamed is an answer that is too large to be built before it is written.
type streamed func(io.Writer) error

// answer lets in who may make a call, makes it, and writes what came of it.
func (a *calls) answer(o operation) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		who, err := a.authenticate(r)
		if err != nil {
			a.refuse(w, r, err)
			return
		}
		c := &call{Request: r, caller: who}
		body, err := a.run(c, o)
		if o.audit != "" {
			a.keep(c, o, w.Header().Get("X-Request-Id"), err)
		}
		if err != nil {
			a.refuse(w, r, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		write, ok := body.(streamed)
		if !ok {
			write = func(w io.Writer) error { return encode(w, body) }
		}
		if err := write(w); err != nil {
			if r.Context().Err() == nil {
				a.Logger.Warn("answer cut", "path", r.URL.Path, "err", err)
			}
			panic(http.ErrAbortHandler) // half an answer must not look like a whole one
		}
	}
}

func (a *calls) run(c *call, o operation) (any, error) {
	if wait := a.Over(c.app, c.master); wait > 0 {
		return nil, a.tooMany("more calls with this key than the app's requests.per_second", wait)
	}
	if o.master {
		if err := c.mustBeMaster(); err != nil {
			return nil, err
		}
	}
	if o.adds {
		if err := a.Spare(); err != nil {
			return nil, err
		}
	}
	var err error
	if c.query, err = url.ParseQuery(c.URL.RawQuery); err != nil {
		return nil, malformed("the query does not parse")
	}
	return o.do(c)
}

// keep tells the audit log what a call came to, err its refusal.
func (a *calls) keep(c *call, o operation, requestID string, err error) {
	e := broker.AuditEntry{
		App: c.app, Who: string(c.app), Action: o.audit, Method: c.Method, Path: c.URL.Path, Target: c.target, RequestID: requestID,
		Status: http.StatusOK,
	}
	if c.addr.IsValid() {
		e.Address = c.addr.String()
	}
	if err != nil {
		refused := a.refusalOf(err)
		e.Status, e.Code = refused.status, refused.Code
	}
	a.Audit(c.Context(), e)
}

// encode writes v as that service did, with < > & as they are.
func encode(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// empty is the answer of calls that have nothing to tell.
type empty struct{}
