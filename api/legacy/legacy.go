package legacy

import (
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

// Options are what the calls work with. All of them are needed.
type Options struct {
	Broker *broker.Broker
	Logger *slog.Logger
	Now    func() time.Time
	Status func(broker.Code) int          // the HTTP status of a code
	Wait   func(netip.Addr) time.Duration // for how long an address is refused after failed logins; 0: it is not
	Failed func(netip.Addr)               // counts a failed login
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
	r.Get("/rtm/messages/logs", a.answer(reads, a.history))
	r.Get("/rtm/messages/history", a.answer(reads, a.history))
	r.Delete("/rtm/messages/logs", a.answer(needsMaster, a.deleteRecord))
	r.Post("/rtm/messages", a.answer(needsMaster, a.send))
	r.Get("/rtm/messages/unread/{peer}", a.answer(reads, a.unread))
	r.Get("/rtm/messages/unread/{peer}/{conversation}", a.answer(reads, a.unread))
	r.Post("/rtm/online", a.answer(needsMaster, a.online))
	r.Get("/rtm/transient_group/onlines", a.answer(reads, a.onlines))
	r.Post("/rtm/client/kick", a.answer(needsMaster, a.kick))
	r.Get("/classes/AVOSRealtimeGroups", a.answer(reads, a.groups))
	r.Get("/classes/AVOSRealtimeGroups/{id}", a.answer(reads, a.group))
	return r
}

// right says which key a call takes.
type right bool

const (
	reads       right = false // the app key will do
	needsMaster right = true
)

// call is a request of a caller that was let in.
type call struct {
	*http.Request
	caller
	query url.Values
}

// streamed is an answer that is too large to be built before it is written.
type streamed func(io.Writer) error

// answer lets in who may make a call, makes it, and writes what came of it.
func (a *calls) answer(need right, do func(*call) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := a.run(r, need, do)
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

func (a *calls) run(r *http.Request, need right, do func(*call) (any, error)) (any, error) {
	who, err := a.authenticate(r)
	if err != nil {
		return nil, err
	}
	c := &call{Request: r, caller: who}
	if need == needsMaster {
		if err := c.mustBeMaster(); err != nil {
			return nil, err
		}
	}
	if c.query, err = url.ParseQuery(r.URL.RawQuery); err != nil {
		return nil, malformed("the query does not parse")
	}
	return do(c)
}

// encode writes v as that service did, with < > & as they are.
func encode(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// empty is the answer of calls that have nothing to tell.
type empty struct{}
