package hooks

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"golang.org/x/sync/errgroup"

	"kith/broker"
)

// transport is how a client is connected, as status shows it.
type transport string

const (
	overTCP transport = "tcp"
	overTLS transport = "tls"
	overWS  transport = "ws"
	overWSS transport = "wss"
)

// Timeouts of the network side.
const (
	tcpIdle        = 60 * time.Second // of silence before TCP asks whether the peer is there
	tcpInterval    = 15 * time.Second
	tcpProbes      = 4
	tcpUserTimeout = 60 * time.Second // for what we sent to be taken
	sweepInterval  = 30 * time.Second // of WebSocket pings and expired retained messages
	drainTimeout   = 10 * time.Second // of Run's own shutdown
)

// limits are the bounds in time of one connection.
type limits struct {
	connect time.Duration // from accept to a whole CONNECT (spec 13)
	open    time.Duration // of a broker call on behalf of CONNECT or SUBSCRIBE
	write   time.Duration // without the client taking a byte
	close   time.Duration // for the last packets
	linger  time.Duration // for the client to read them
}

func defaultLimits() limits {
	return limits{connect: 10 * time.Second, open: 15 * time.Second, write: 20 * time.Second, close: time.Second, linger: 500 * time.Millisecond}
}

// session is what a connection needs of a broker.Session.
type session interface {
	App() broker.AppID
	Peer() broker.PeerID
	Publish(p *broker.Publish)
	Submit()
	Release(tag uint16)
	Acked(tag uint16)
	Rejected(tag uint16)
	Received(tag uint16)
	Next(out []broker.Out) []broker.Out
	Behind() bool
	Backlog() int
	Written()
	Subscribe(ctx context.Context, subs []broker.Subscription, proof *broker.WatchProof) ([]*broker.Error, []bool)
	Unsubscribe(filters []string) []bool
	Deliver(o broker.Out) (taken bool)
	End(how broker.EndReason, expiry *time.Duration)
}

// Options are what a Server works with.
type Options struct {
	Config Config
	Logger *slog.Logger     // nil: nothing is logged
	Now    func() time.Time // the clock of messages' expiry; nil: time.Now
	// Reference is where clients are sent that a drained node moves, as MQTT 5 Server Reference; "": they know other servers.
	Reference string
}

// Server is the MQTT side of a node: listeners, connections, and the engine that they share.
type Server struct {
	config       Config
	reference    string        // Options.Reference
	tls          *tls.Config   // nil without a certificate
	certificates *Certificates // behind tls
	log          *slog.Logger
	now          func() time.Time // Options.Now
	limits       limits
	open         func(context.Context, *broker.OpenRequest, broker.Link) (session, bool, error)
	app          func(broker.AppID) (broker.AppConfig, bool)
	engine       *mqtt.Server
	auth         *authHook
	topics       *topicRouter
	count        counters

	flushers flushers
	hangups  hangups

	lastID atomic.Uint64

	mu        sync.Mutex
	conns     map[*conn]struct{}
	listeners map[net.Listener]struct{}
	closed    bool
	running   sync.WaitGroup // one for each of conns
}

// New returns a Server whose sessions are b's, and makes it b's topic router.
func New(b *broker.Broker, o Options) (*Server, error) {
	s, err := newServer(o)
	if err != nil {
		return nil, err
	}
	s.app = b.App
	s.open = func(ctx context.Context, r *broker.OpenRequest, link broker.Link) (session, bool, error) {
		opened, present, err := b.Open(ctx, r, link)
		if err != nil {
			return nil, false, err // not a nil *broker.Session in an interface
		}
		return opened, present, nil
	}
	s.topics.sharesChanged = b.SharesChanged
	b.SetTopics(s.topics)
	return s, nil
}

func newServer(o Options) (*Server, error) {
	if err := o.Config.Validate(); err != nil {
		return nil, err
	}
	certificates, err := LoadCertificates(o.Config.TLS)
	if err != nil {
		return nil, err
	}
	s := &Server{
		config: o.Config, reference: o.Reference, certificates: certificates, log: o.Logger, now: o.Now, limits: defaultLimits(),
		conns: make(map[*conn]struct{}), listeners: make(map[net.Listener]struct{}),
	}
	if certificates != nil {
		s.tls = certificates.Config(nil)
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	if err := s.buildEngine(); err != nil {
		return nil, fmt.Errorf("mqtt engine: %w", err)
	}
	s.topics = newTopicRouter(s.engine.Topics, s.now)
	s.flushers.init()
	return s, nil
}

// Run listens as configured and serves until ctx ends, then shuts down within ten seconds. Housekeeping of connections
// that come through WebSocketHandler or Serve happens in it too.
func (s *Server) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, l := range []struct {
		address string
		tls     *tls.Config
	}{{s.config.MQTT, nil}, {s.config.MQTTS, s.tls}} {
		if l.address == "" {
			continue
		}
		ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", l.address)
		if err != nil {
			s.closeListeners()
			return fmt.Errorf("listen for mqtt: %w", err)
		}
		s.track(ln)
		s.log.Info("listening for mqtt", "address", ln.Addr().String(), "tls", l.tls != nil)
		g.Go(func() error { return s.serve(ctx, ln, l.tls) })
	}
	g.Go(func() error {
		s.housekeep(ctx)
		return nil
	})
	g.Go(func() error {
		s.watchCertificates(ctx)
		return nil
	})
	err := g.Wait()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if down := s.Shutdown(ctx); err == nil {
		err = down
	}
	return err
}

// Shutdown stops accepting, tells all clients that the server stops (MQTT 5: 0x8B), flushes, and waits for the
// connections to end, at most until ctx ends: then it closes what is left and returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	open := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		open = append(open, c)
	}
	s.mu.Unlock()
	s.closeListeners()
	for _, c := range open {
		c.Close(broker.CloseShutdown)
	}
	done := make(chan struct{})
	go func() {
		s.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		s.hangups.close()
		s.flushers.close()
		return nil
	case <-ctx.Done():
	}
	for _, c := range open {
		c.abort()
	}
	return fmt.Errorf("mqtt connections were still open: %w", ctx.Err())
}

// start runs a connection, unless the server is shutting down.
func (s *Server) start(nc net.Conn, over transport) {
	c := &conn{srv: s, nc: nc, transport: over, in: newInput(nc)}
	c.out.room.L = &c.out.mu
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		_ = nc.Close()
		return
	}
	s.conns[c] = struct{}{}
	s.running.Add(1)
	s.mu.Unlock()
	s.count.opened(over)
	go c.serve()
}

// forget is the last thing that a connection does.
func (s *Server) forget(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.count.closed(c.transport)
	s.running.Done()
}

// housekeep pings WebSocket clients and drops expired retained messages.
func (s *Server) housekeep(ctx context.Context) {
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case tock := <-tick.C:
			now := s.now()
			s.topics.retained.sweep(now.UnixMilli())
			s.topics.sweepAbsent(now)
			s.sweepWebSockets(tock)
		}
	}
}

func (s *Server) nextID() string { return strconv.FormatUint(s.lastID.Add(1), 36) }
