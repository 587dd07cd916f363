package api

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"

	"kith/broker"
)

// statuses is the one place where codes of spec 10 become HTTP statuses.
var statuses = map[broker.Code]int{
	broker.AppNotFound:     http.StatusNotFound,
	broker.SignatureFailed: http.StatusForbidden,
	broker.InvalidPeer:     http.StatusBadRequest,
	broker.Banned:          http.StatusForbidden,
	broker.MessageTooLong:  http.StatusRequestEntityTooLarge,
	broker.LimitExceeded:   http.StatusUnprocessableEntity,
	broker.Malformed:       http.StatusBadRequest,
	broker.RateLimited:     http.StatusTooManyRequests,
	broker.Unauthorized:    http.StatusUnauthorized,
	broker.Forbidden:       http.StatusForbidden,
	broker.Internal:        http.StatusServiceUnavailable,
	broker.GroupNotFound:   http.StatusNotFound,
	broker.GroupFull:       http.StatusConflict,
	broker.RejectedByApp:   http.StatusForbidden,
	broker.NotAMember:      http.StatusForbidden,
	broker.InvalidTarget:   http.StatusUnprocessableEntity,
}

// What a caller does about these passes by itself; Retry-After in seconds.
var retryAfter = map[broker.Code]int{broker.RateLimited: 1, broker.Internal: 5}

// Problem is a refusal in the form of RFC 9457. For what only HTTP knows, such as a path that does not exist, spec 10
// has no code: code is then the HTTP status.
type Problem struct {
	Type   string         `json:"type" doc:"Names the kind of problem." example:"urn:kith:error:4118"`
	Title  string         `json:"title" doc:"The kind of problem in words." example:"Unauthorized"`
	Status int            `json:"status" doc:"The HTTP status." example:"401"`
	Code   int            `json:"code" doc:"The error's code; the HTTP status for what only HTTP knows." example:"4118"`
	Name   string         `json:"error" doc:"The error's name." example:"unauthorized"`
	Detail string         `json:"detail" doc:"What is wrong this time." example:"say Authorization: Basic app_id:master_key, or Bearer token"`
	Errors []FieldProblem `json:"errors,omitempty" doc:"What is wrong with which part of the request." nullable:"false"`

	headers http.Header
}

// FieldProblem says what is wrong with one part of a request. It does not repeat the value.
type FieldProblem struct {
	Location string `json:"location" doc:"Such as body.to[2] or query.limit." example:"query.limit"`
	Message  string `json:"message" doc:"What is expected there." example:"expected number <= 1000"`
}

// problem makes the problem of a code.
func problem(code broker.Code, detail string) *Problem {
	status, known := statuses[code]
	if !known {
		return statusProblem(http.StatusInternalServerError, detail)
	}
	p := &Problem{
		Type:   "urn:kith:error:" + strconv.Itoa(int(code)),
		Title:  title(code.Name()),
		Status: status,
		Code:   int(code),
		Name:   code.Name(),
		Detail: detail,
	}
	if s := retryAfter[code]; s > 0 {
		p.setHeader("Retry-After", strconv.Itoa(s))
	}
	return p
}

// statusProblem makes the problem of an HTTP status for which spec 10 has no code.
func statusProblem(status int, detail string) *Problem {
	text := http.StatusText(status)
	return &Problem{
		Type:   "about:blank",
		Title:  text,
		Status: status,
		Code:   status,
		Name:   strings.ReplaceAll(strings.ToLower(text), " ", "_"),
		Detail: detail,
	}
}

func notFound(detail string) *Problem { return statusProblem(http.StatusNotFound, detail) }

func malformed(detail string) *Problem { return problem(broker.Malformed, detail) }

func title(name string) string {
	words := strings.ReplaceAll(name, "_", " ")
	return strings.ToUpper(words[:1]) + words[1:]
}

// Error is the problem's detail.
func (p *Problem) Error() string { return p.Detail }

// GetStatus is the HTTP status; huma asks for it.
func (p *Problem) GetStatus() int { return p.Status }

// GetHeaders are headers that go with the answer; huma asks for them.
func (p *Problem) GetHeaders() http.Header { return p.headers }

// ContentType is the media type of problems; huma asks for it.
func (p *Problem) ContentType(string) string { return problemType }

const problemType = "application/problem+json"

func (p *Problem) setHeader(name, value string) {
	if p.headers == nil {
		p.headers = http.Header{}
	}
	p.headers.Set(name, value)
}

// write answers a request with the problem, outside of huma's operations.
func (p *Problem) write(w http.ResponseWriter) {
	maps.Copy(w.Header(), p.headers)
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the caller has gone
}

// problemOf turns what an operation returned into a problem. What nobody foresaw is logged here and nowhere else.
func problemOf(ctx context.Context, log *slog.Logger, err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	if _, ok := errors.AsType[*broker.Error](err); !ok && ctx.Err() == nil {
		log.Error("request failed", "err", err)
	}
	e := broker.AsError(err)
	return problem(e.Code, e.Message)
}

// useProblems makes huma's own refusals problems as well. Huma offers only package variables for it; they are set once, so that
// servers of one process do not race.
var useProblems = sync.OnceFunc(func() {
	huma.NewError = newHumaError
	huma.ValidateStrictCasing = true
})

// newHumaError takes over what huma refuses before an operation runs: query, path and body that do not fit.
func newHumaError(status int, message string, errs ...error) huma.StatusError {
	switch status {
	case http.StatusRequestEntityTooLarge:
		return problem(broker.MessageTooLong, "the request body is too large")
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
	case http.StatusUnsupportedMediaType:
		return statusProblem(status, "the request body must be application/json")
	default:
		return statusProblem(status, message)
	}
	p := malformed(message)
	for _, err := range errs {
		f := FieldProblem{Message: err.Error()}
		if d, ok := errors.AsType[*huma.ErrorDetail](err); ok {
			f = FieldProblem{Location: d.Location, Message: d.Message}
		}
		p.Errors = append(p.Errors, f)
	}
	if len(p.Errors) > 0 {
		p.Detail = strings.TrimPrefix(p.Errors[0].Location+": "+p.Errors[0].Message, ": ")
	}
	return p
}
