package redisstore_test

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// proxy stands between a store and its server, and can cut or hold what passes.
type proxy struct {
	listener net.Listener
	target   string
	cutAfter atomic.Int64 // bytes towards the server, after which the next connection ends; 0: never
	held     atomic.Bool  // nothing comes back
	mu       sync.Mutex
	conns    map[net.Conn]bool
}

func startProxy(t testing.TB, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, target: target, conns: map[net.Conn]bool{}}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { p.pass(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.cut()
		all.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) keep(c net.Conn, there bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if there {
		p.conns[c] = true
	} else {
		delete(p.conns, c)
	}
}

// cut ends all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

func (p *proxy) pass(c net.Conn) {
	defer c.Close()
	s, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer s.Close()
	p.keep(c, true)
	defer p.keep(c, false)
	var back sync.WaitGroup
	back.Go(func() {
		buf := make([]byte, 4096)
		for {
			n, err := s.Read(buf)
			if err != nil {
				c.Close()
				return
			}
			if p.held.Load() {
				continue
			}
			if _, err := c.Write(buf[:n]); err != nil {
				s.Close()
				return
			}
		}
	})
	buf := make([]byte, 1024)
	for {
		n, err := c.Read(buf)
		if err != nil {
			break
		}
		if left := p.cutAfter.Load(); left > 0 && p.cutAfter.Add(-int64(n)) <= 0 {
			p.cutAfter.Store(0)
			_, _ = s.Write(buf[:min(int(left), n)])
			break
		}
		if _, err := s.Write(buf[:n]); err != nil {
			break
		}
	}
	if tcp, ok := s.(*net.TCPConn); ok {
		_ = tcp.CloseWrite() // what was sent is still done
	}
	c.Close()
	_, _ = io.Copy(io.Discard, s)
	back.Wait()
}
