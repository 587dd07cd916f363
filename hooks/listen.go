package hooks

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"
)

// Serve accepts MQTT over TCP on ln until ctx ends or ln is closed, which is no error. It closes ln.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	s.track(ln)
	return s.serve(ctx, ln, nil)
}

// ServeTLS is Serve for MQTT over TLS, with the configured certificate.
func (s *Server) ServeTLS(ctx context.Context, ln net.Listener) error {
	if s.tls == nil {
		return errors.New("serve mqtt over tls: no certificate is configured")
	}
	s.track(ln)
	return s.serve(ctx, ln, s.tls)
}

// serve accepts. An error, such as no free descriptor, is waited out: it must not leave the server deaf.
func (s *Server) serve(ctx context.Context, ln net.Listener, config *tls.Config) error {
	defer s.untrack(ln)
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	const shortest, longest = 5 * time.Millisecond, time.Second
	pause := shortest
	for {
		nc, err := ln.Accept()
		switch {
		case err == nil:
			pause = shortest
		case errors.Is(err, net.ErrClosed) || ctx.Err() != nil:
			return nil
		default:
			s.log.Warn("accept failed; trying again", "address", ln.Addr().String(), "error", err, "pause", pause)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return nil
			}
			pause = min(2*pause, longest)
			continue
		}
		tuneTCP(plain(nc))
		if config != nil {
			s.start(tls.Server(nc, config), overTLS)
		} else {
			s.start(nc, overTCP)
		}
	}
}

func (s *Server) track(ln net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = ln.Close()
	}
	s.listeners[ln] = struct{}{}
}

func (s *Server) untrack(ln net.Listener) {
	_ = ln.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, ln)
}

func (s *Server) closeListeners() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ln := range s.listeners {
		_ = ln.Close()
	}
}

// Addrs returns the addresses that the server listens on now.
func (s *Server) Addrs() []net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	addrs := make([]net.Addr, 0, len(s.listeners))
	for ln := range s.listeners {
		addrs = append(addrs, ln.Addr())
	}
	return addrs
}
