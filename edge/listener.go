package edge

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	headerTimeout = 5 * time.Second // for a trusted proxy's header
	quietTime     = time.Second     // between two log lines about bad headers
)

// Listener accepts connections that know where they come from.
type Listener struct {
	net.Listener
	trusted []netip.Prefix
	log     *slog.Logger

	mu     sync.Mutex
	logged time.Time // of the last line about a bad header
	silent int       // bad headers since
}

// NewListener returns ln with the settings of c applied to what it accepts. c is taken as valid; a nil log is silent.
func NewListener(ln net.Listener, c ProxyConfig, log *slog.Logger) *Listener {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Listener{Listener: ln, trusted: parsePrefixes(c.Trusted), log: log}
}

// Accept returns the next connection, a *Conn. It does not wait for a header: that is read by who uses the connection.
func (l *Listener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &Conn{Conn: nc, listener: l, remote: nc.RemoteAddr(), proxied: contains(l.trusted, Addr(nc.RemoteAddr()))}, nil
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

	mu    sync.Mutex // guards the read deadline
	until time.Time  // as asked for
	bound time.Time  // of the header, while it is read
}

// Identify finds out where nc, or the Conn under it, comes from. Its error means that this cannot be known, and that the connection
// must be ended. Other connections come from where they say.
func Identify(nc net.Conn) error {
	for {
		if c, ok := nc.(*Conn); ok {
			return c.identify()
		}
		over, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			return nil
		}
		nc = over.NetConn()
	}
}

func (c *Conn) identify() error {
	c.once.Do(func() {
		if !c.proxied {
			return
		}
		c.bindHeader(time.Now().Add(headerTimeout))
		client, err := readHeader(c.Conn)
		c.bindHeader(time.Time{})
		switch {
		case err != nil:
			c.err = err
			c.listener.badHeader(c.remote, err)
		case client != nil:
			c.remote = client
		}
	})
	return c.err
}

// NetConn returns the connection underneath, whose bytes begin behind the header once that is read.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// RemoteAddr is the client's address; the proxy's where that told none.
func (c *Conn) RemoteAddr() net.Addr {
	_ = c.identify() // Read tells it
	return c.remote
}

// Read reads what comes behind the header.
func (c *Conn) Read(b []byte) (int, error) {
	if err := c.identify(); err != nil {
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
