package api

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"kith/broker"
)

// Health says that the process answers.
type Health struct {
	Status string `json:"status" doc:"Always ok: else there is no answer." example:"ok"`
}

// Readiness says whether requests can be served, and if not, why.
type Readiness struct {
	Ready bool    `json:"ready" doc:"Whether this node can serve." example:"true"`
	Wrong []Fault `json:"wrong" nullable:"false" doc:"What is wrong; nothing when ready."`
}

// Fault is a part that does not work.
type Fault struct {
	Part   string `json:"part" doc:"Which part." example:"store"`
	Detail string `json:"detail" doc:"What is wrong with it." example:"the store does not answer; nothing was accepted, try again"`
}

// ReadinessAnswer is a readiness with its HTTP status.
type ReadinessAnswer struct {
	Status int
	Body   Readiness
}

const (
	readyTimeout = 2 * time.Second        // shorter than what probes usually wait
	readyFor     = 200 * time.Millisecond // how long an outcome holds: anybody may ask, and each time costs the store a write
)

// readiness remembers whether the store answered last.
type readiness struct {
	ask func(context.Context) error
	now func() time.Time
	log *slog.Logger

	mu  sync.Mutex
	at  time.Time // of the last outcome
	err error
}

// check returns what the store says, from at most readyFor ago. Its own words go to the log, once for each change.
func (r *readiness) check(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now().Sub(r.at) < readyFor {
		return r.err
	}
	// A prober that goes away is no sign of the store.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyTimeout)
	defer cancel()
	err := r.ask(ctx)
	switch {
	case err != nil && r.err == nil:
		r.log.Warn("not ready", "err", err)
	case err == nil && r.err != nil:
		r.log.Info("ready again")
	}
	r.at, r.err = r.now(), err
	return err
}

func (s *Server) registerHealth() {
	register(s, operation{
		id: "healthz", method: http.MethodGet, path: "/healthz", tag: "health",
		summary: "Is the process up", description: "Answers while the process does.",
		answer: Health{"ok"},
	}, func(context.Context, *struct{}) (*Answer[Health], error) { return answer(Health{"ok"}), nil })
	register(s, operation{
		id: "readyz", method: http.MethodGet, path: "/readyz", tag: "health",
		summary: "Can requests be served", description: "200 while the store can take a durable write; else 503, with what is wrong.",
		answer: Readiness{Ready: true, Wrong: []Fault{}},
	}, func(ctx context.Context, _ *struct{}) (*ReadinessAnswer, error) {
		if err := s.ready.check(ctx); err != nil {
			return &ReadinessAnswer{http.StatusServiceUnavailable, notReady(err)}, nil
		}
		return &ReadinessAnswer{http.StatusOK, Readiness{Ready: true, Wrong: []Fault{}}}, nil
	})
	responses := s.huma.OpenAPI().Paths["/readyz"].Get.Responses
	responses["503"] = &huma.Response{
		Description: "Not now.",
		Content: map[string]*huma.MediaType{"application/json": {
			Schema:  responses["200"].Content["application/json"].Schema,
			Example: notReady(context.DeadlineExceeded),
		}},
	}
}

// notReady tells the caller, who may be anybody, no more than what is meant for clients.
func notReady(err error) Readiness {
	return Readiness{Wrong: []Fault{{"store", broker.AsError(err).Message}}}
}
