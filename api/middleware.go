package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"kith/broker"
)

// requestTimeout bounds what a request may take from its last header byte to its answer.
const requestTimeout = 30 * time.Second

// observe gives each request an id and, when it is done, a line in the log at debug level and a measurement. The line has
// neither query nor headers: secrets travel there.
func (s *Server) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := requestID()
		w.Header().Set(requestIDHeader, id)
		ww := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
		start := s.now()
		defer func() {
			took, status, route := s.now().Sub(start), ww.Status(), chi.RouteContext(r.Context()).RoutePattern()
			s.requests.WithLabelValues(method(r), route, strconv.Itoa(status)).Observe(took.Seconds())
			s.log.LogAttrs(r.Context(), slog.LevelDebug, "request",
				slog.String("request_id", id), slog.String("method", r.Method), slog.String("path", r.URL.Path),
				slog.String("route", route), slog.Int("status", status), slog.Int("bytes", ww.BytesWritten()),
				slog.Duration("took", took), slog.String("remote", r.RemoteAddr))
		}()
		next.ServeHTTP(ww, r)
	})
}

const requestIDHeader = "X-Request-Id"

func requestID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// method is a request's method as a label, of which there must not be as many as callers can think of.
func method(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return r.Method
	}
	return "other"
}

// barrier keeps a panic to the request that caused it.
func (s *Server) barrier(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			fault := recover()
			if fault == nil {
				return
			}
			if fault == http.ErrAbortHandler { //nolint:errorlint // net/http compares it so
				panic(fault)
			}
			s.log.Error("panic in a request", "panic", fault, "method", r.Method, "path", r.URL.Path, "stack", string(debug.Stack()))
			if ww, ok := w.(middleware.WrapResponseWriter); ok && ww.Status() == 0 {
				statusProblem(http.StatusInternalServerError, "a fault of the server; it was logged").write(w)
				return
			}
			panic(http.ErrAbortHandler) // too late for an answer: end the connection
		}()
		next.ServeHTTP(w, r)
	})
}

// deadline bounds the work for a request, and a caller who does not read the answer.
func deadline(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := bound(r.Context(), w)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// operationDeadline is deadline for an operation that is no stream.
func operationDeadline(ctx huma.Context, next func(huma.Context)) {
	_, w := humachi.Unwrap(ctx)
	bounded, cancel := bound(ctx.Context(), w)
	defer cancel()
	next(huma.WithContext(ctx, bounded))
}

func bound(ctx context.Context, w http.ResponseWriter) (context.Context, context.CancelFunc) {
	// Not every writer can, such as a test's recorder; the context's bound holds anyway.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(requestTimeout + 5*time.Second))
	return context.WithTimeout(ctx, requestTimeout)
}

// bodyTimeout is how long a request's body may take to come. It holds for one that nobody reads, too: net/http reads on behind a refusal.
const bodyTimeout = 5 * time.Second

// timelyBody bounds that, and no longer than until the body is there: a deadline that ends later would be taken for the caller's leaving.
func timelyBody(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			rc := http.NewResponseController(w)
			_ = rc.SetReadDeadline(time.Now().Add(bodyTimeout)) // a test's recorder cannot
			r.Body = &body{r.Body, rc}
		}
		next.ServeHTTP(w, r)
	})
}

// body is a request's body whose deadline ends with it.
type body struct {
	io.ReadCloser
	rc *http.ResponseController
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		_ = b.rc.SetReadDeadline(time.Time{})
	}
	return n, err
}

// plainBody refuses compressed bodies: what they inflate to is nobody's word but the sender's.
func plainBody(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
			statusProblem(http.StatusUnsupportedMediaType, "send the body without Content-Encoding").write(w)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// sameOrigin refuses changes that a page of another origin asks for: its browser may hold credentials that somebody typed into it, and
// say them by itself.
func sameOrigin(next http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		problem(broker.Forbidden, "a page of another origin may not ask for this").write(w)
	}))
	return protection.Handler(next)
}

// headers are what every answer says: it is data for this caller, not a page.
func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}
