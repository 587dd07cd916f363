package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"

	"kith/broker"
)

// Options are what a Server works with.
type Options struct {
	Config  Config
	Version string                  // of the program, for operators and the OpenAPI document
	MQTT    http.Handler            // MQTT over WebSocket at /mqtt; nil: none
	TLS     *tls.Config             // nil: plain HTTP, or what the listener does
	Sources map[string]MetricSource // more metrics, by the part's name, such as "store"
	Logger  *slog.Logger            // nil: nothing is logged
	Now     func() time.Time        // nil: time.Now
	// Backup writes a copy of the store; nil: the store is backed up by its own means.
	Backup func(context.Context, io.Writer) error
	// Overloaded says why calls that would add something are refused for now, as a *broker.Error; nil, also for the function: they are not.
	Overloaded func() error
}

// Server answers HTTP for one broker.
type Server struct {
	broker    *broker.Broker
	version   string
	log       *slog.Logger
	now       func() time.Time
	tls       *tls.Config
	spare     func() error // why nothing more can be taken on now
	guard     *guard
	ready     readiness
	streams   *streams
	transfers *places // of exports and imports

	backup   func(context.Context, io.Writer) error // nil: the store is backed up by its own means
	auditAge time.Duration
	huma     huma.API
	handler  http.Handler

	requests *prometheus.HistogramVec
}

// New builds a server. The configuration is taken as valid.
func New(b *broker.Broker, o Options) *Server {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Overloaded == nil {
		o.Overloaded = func() error { return nil }
	}
	if o.Version == "" {
		o.Version = "dev"
	}
	if o.Config.Audit.Age == 0 {
		o.Config.Audit = DefaultConfig().Audit
	}
	useProblems()
	s := &Server{
		broker:    b,
		version:   o.Version,
		log:       o.Logger,
		now:       o.Now,
		tls:       o.TLS,
		spare:     o.Overloaded,
		guard:     newGuard(b, o.Config.Operators, o.Now),
		ready:     readiness{ask: b.Ready, now: o.Now, log: o.Logger},
		streams:   newStreams(),
		transfers: newPlaces(maxTransfers, maxAppTransfers),
		backup:    o.Backup,
		auditAge:  o.Config.Audit.Age,
		requests:  newRequestMetric(),
	}
	s.handler = s.route(o)
	return s
}

// route builds the handler. /mqtt stands outside of the middleware: it needs the bare connection, for as long as it lives.
func (s *Server) route(o Options) http.Handler {
	root := chi.NewRouter()
	root.Use(timelyBody)
	if o.MQTT != nil {
		root.Handle("/mqtt", s.barrier(o.MQTT))
	}
	r := chi.NewRouter()
	r.Use(s.observe, s.barrier, headers, sameOrigin, plainBody)
	r.NotFound(func(w http.ResponseWriter, _ *http.Request) { notFound("there is nothing at this path").write(w) })
	r.MethodNotAllowed(methodNotAllowed(r))
	r.With(deadline).Mount("/1.1", s.legacy())
	s.huma = humachi.New(r, humaConfig(o.Version))
	s.registerMessages()
	s.registerSend()
	s.registerLive()
	s.registerExport()
	s.registerImport()
	s.registerTrace()
	s.registerPeers()
	s.registerQueue()
	s.registerSessions()
	s.registerErase()
	s.registerGroups()
	s.registerMembers()
	s.registerBans()
	s.registerSignatures()
	s.registerApps()
	s.registerNodes()
	s.registerDrain()
	s.registerAudit()
	s.registerBackup()
	s.registerHealth()
	s.documentMetrics()
	s.routeDocument(r.With(deadline))
	r.With(deadline).Get("/metrics", s.serveMetrics(newRegistry(s.broker.Stats, o.Sources, s.requests), o.Config.Metrics.Public))
	root.Mount("/", r)
	return root
}

// Handler answers requests, for servers that are run elsewhere.
func (s *Server) Handler() http.Handler { return s.handler }

// SetOperators replaces the operators for requests from now on. They are taken as valid.
func (s *Server) SetOperators(configured []Operator) { s.guard.setOperators(configured) }

// methodNotAllowed answers for a path that takes other methods, and names those.
func methodNotAllowed(routes chi.Routes) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p := statusProblem(http.StatusMethodNotAllowed, "this path does not take this method")
		path := r.URL.RawPath
		if path == "" {
			path = r.URL.Path
		}
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
			if routes.Match(chi.NewRouteContext(), method, path) {
				p.headers = http.Header{"Allow": append(p.headers["Allow"], method)}
			}
		}
		p.write(w)
	}
}

const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 32 << 10
	shutdownTimeout   = 10 * time.Second // for requests that are under way when Run ends
)

// Run answers requests that come by l until ctx ends; then it finishes those under way and returns nil. Connections that MQTT
// took over are its listener's to end. It closes l.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler:           s.handler,
		TLSConfig:         s.tls,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug), // other people's broken handshakes
	}
	stopped := make(chan error, 1)
	go func() {
		if s.tls != nil {
			stopped <- server.ServeTLS(l, "", "")
		} else {
			stopped <- server.Serve(l)
		}
	}()
	select {
	case err := <-stopped:
		return fmt.Errorf("serve http: %w", err)
	case <-ctx.Done():
	}
	s.streams.end()
	finish, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(finish); err != nil {
		s.log.Warn("requests cut at shutdown", "err", err)
		_ = server.Close() // the listener is closed already
	}
	if err := <-stopped; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve http: %w", err)
	}
	return nil
}
