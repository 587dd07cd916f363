package edge

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"kith/broker"
)

const (
	headerTimeout = 5 * time.Second // for a trusted proxy's header
	quietTime     = time.Second     // between two log lines about bad headers
)

var errCrowded = errors.New("far too many connections from this address")

// Listener accepts connections that know where they come from, as many as its guard lets in.
type Listener struct {
	net.Listener
	trusted []netip.Prefix
	guard   *Guard
	log     *slog.Logger

	mu     sync.Mutex
	logged time.Time // of the last line about a bad header
	silent int       // bad headers since
}

// NewListener returns ln with the settings of c and a guard applied to what it accepts. c is taken as valid; a nil guard lets
// everybody pass, and a nil log is silent.
func NewListener(ln net.Listener, c ProxyConfig, g *Guard, log *slog.Logger) *Listener {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Listener{Listener: ln, trusted: parsePrefixes(c.Trusted), guard: g, log: log}
}

// Accept returns the next connection, a *Conn. It does not wait for a header: that is read by who uses the connection.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if !l.guard.accept() {
			_ = nc.Close()
			continue
		}
		return &Conn{Conn: nc, listener: l, remote: nc.RemoteAddr(), proxied: contains(l.trusted, Addr(nc.RemoteAddr()))}, nil
	}
}

// badHeader logs what a trusted proxy did wrong, at most once in quietTime.
func (l *Listener) badHeader(proxy net.Addr, err error) {
	if errors.Is(err, io.EOF) {
		return // a bare look at the port, such as a health check
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if now.Sub(l.logged) < quietTime {
		l.silent++
		return
	}
	l.log.Warn("no client told by a trusted proxy", "proxy", proxy.String(), "listener", l.Addr().String(), "error", err, "more", l.silent)
	l.logged, l.silent = now, 0
}

// Conn is an accepted connection. Its first Read, RemoteAddr or Identify takes the proxy's header, where one must come.
type Conn struct {
	net.Conn
	listener *Listener
	proxied  bool // a header comes first

	once   sync.Once
	remote net.Addr
	err    error

	mu      sync.Mutex // guards what follows
	until   time.Time  // the read deadline, as asked for
	bound   time.Time  // of the header, while it is read
	counted bool       // under its client's address
	closed  bool
}

// Of returns the Conn under nc; nil where there is none. The methods below may be called on nil.
func Of(nc net.Conn) *Conn {
	for {
		if c, ok := nc.(*Conn); ok {
			return c
		}
		over, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			return nil
		}
		nc = over.NetConn()
	}
}

// Identify finds out where the connection comes from. Its error means that this cannot be known, or that there are far too many from
// there: the connection must be ended.
func (c *Conn) Identify() error {
	if c == nil {
		return nil
	}
	c.once.Do(func() {
		if c.err = c.readProxy(); c.err == nil {
			c.err = c.enter()
		}
	})
	return c.err
}

func (c *Conn) readProxy() error {
	if !c.proxied {
		return nil
	}
	c.bindHeader(time.Now().Add(headerTimeout))
	client, err := readHeader(c.Conn)
	c.bindHeader(time.Time{})
	switch {
	case err != nil:
		c.listener.badHeader(c.remote, err)
	case client != nil:
		c.remote = client
	}
	return err
}

// enter counts the connection under its client's address, unless it is closed already.
func (c *Conn) enter() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	counted, ok := c.listener.guard.enter(Addr(c.remote))
	if !ok {
		return errCrowded
	}
	c.counted = counted
	return nil
}

// Connect decides whether the client may try to open a session now. Identify has been called.
func (c *Conn) Connect() *broker.Error {
	if c == nil {
		return nil
	}
	return c.listener.guard.connect(Addr(c.remote))
}

// SignatureFailed tells of a wrong signature in CONNECT; too many of them lead to a ban of the address.
func (c *Conn) SignatureFailed() {
	if c != nil {
		c.listener.guard.failed(Addr(c.remote))
	}
}

// Close closes the connection.
func (c *Conn) Close() error {
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		var from netip.Addr
		if c.counted {
			from = Addr(c.remote)
		}
		c.listener.guard.leave(from)
	}
	c.mu.Unlock()
	return c.Conn.Close()
}

// NetConn returns the connection underneath, whose bytes begin behind the header once that is read.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// RemoteAddr is the client's address; the proxy's where that told none.
func (c *Conn) RemoteAddr() net.Addr {
	_ = c.Identify() // Read tells it
	return c.remote
}

// Read reads what comes behind the header.
func (c *Conn) Read(b []byte) (int, error) {
	if err := c.Identify(); err != nil {
		return 0, err
	}
	return c.Conn.Read(b)
}

// CloseWrite ends the writing side, where the connection underneath can.
func (c *Conn) CloseWrite() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline sets the deadline of reads. While the header is read, that has the earlier of this and its own.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until = t
	return c.armRead()
}

// bindHeader begins, or with the zero time ends, the header's own deadline.
func (c *Conn) bindHeader(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bound = t
	_ = c.armRead() // of a connection that is closed, which reads tell
}

func (c *Conn) armRead() error {
	t := c.until
	if t.IsZero() || !c.bound.IsZero() && c.bound.Before(t) {
		t = c.bound
	}
	return c.Conn.SetReadDeadline(t)
}
