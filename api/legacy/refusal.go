package legacy

import (
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"kith/broker"
)

// refusal is what a caller is told that did not get what it asked for.
type refusal struct {
	status     int
	retryAfter int // seconds; 0: not told

	Code int    `json:"code"`
	Text string `json:"error"`
}

func (r *refusal) Error() string { return r.Text }

func (r *refusal) write(w http.ResponseWriter) {
	if r.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(r.retryAfter))
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(r.status)
	_ = encode(w, r) // the caller has gone
}

// statusRefusal is a refusal for which spec 10 has no code.
func statusRefusal(status int, text string) *refusal {
	return &refusal{status: status, Code: status, Text: text}
}

func malformed(format string, args ...any) error {
	return broker.Errorf(broker.Malformed, format, args...)
}

func notFound(text string) error { return statusRefusal(http.StatusNotFound, text) }

// busySeconds is when a caller should try again whom the server could not serve.
const busySeconds = 5

// refusalOf turns what a call returned into what the caller is told.
func (a *calls) refusalOf(err error) *refusal {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r
	}
	e := broker.AsError(err)
	r := &refusal{status: a.Status(e.Code), Code: int(e.Code), Text: e.Message}
	if e.Code == broker.Internal {
		r.retryAfter = busySeconds
	}
	return r
}

// tooMany refuses who must wait.
func (a *calls) tooMany(text string, wait time.Duration) error {
	r := a.refusalOf(broker.Errorf(broker.RateLimited, "%s", text))
	r.retryAfter = int(math.Ceil(wait.Seconds()))
	return r
}

// refuse tells the caller. What nobody foresaw is logged here and nowhere else.
func (a *calls) refuse(w http.ResponseWriter, r *http.Request, err error) {
	_, told := errors.AsType[*refusal](err)
	_, foreseen := errors.AsType[*broker.Error](err)
	if !told && !foreseen && r.Context().Err() == nil {
		a.Logger.Error("request failed", "path", r.URL.Path, "err", err)
	}
	a.refusalOf(err).write(w)
}
