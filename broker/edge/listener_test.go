package edge_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pires/go-proxyproto"

	"kith/broker/edge"
)

// pipeListener accepts connections made in memory, from an address of the test's choice.
type pipeListener struct {
	conns chan net.Conn
}

type pipeEnd struct {
	net.Conn
	from net.Addr
}

func (p pipeEnd) RemoteAddr() net.Addr { return p.from }

func (l *pipeListener) Accept() (net.Conn, error) { return <-l.conns, nil }
func (l *pipeListener) Close() error              { return nil }
func (l *pipeListener) Addr() net.Addr            { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

func tcpAddr(s string) *net.TCPAddr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s)) }

// accepted returns both ends of a connection from an address.
func accepted(t *testing.T, from string, c edge.ProxyConfig, log *bytes.Buffer) (client, server net.Conn) {
	t.Helper()
	l := &pipeListener{conns: make(chan net.Conn, 1)}
	client, end := net.Pipe()
	t.Cleanup(func() { _ = client.Close() })
	l.conns <- pipeEnd{end, tcpAddr(from)}
	server, err := edge.NewListener(l, c, nil, slog.New(slog.NewTextHandler(log, nil))).Accept()
	if err != nil {
		t.Fatal(err)
	}
	return client, server
}

func header(t *testing.T, from string) []byte {
	t.Helper()
	b, err := proxyproto.HeaderProxyFromAddrs(2, tcpAddr(from), tcpAddr("[2001:db8::1]:1883")).Format()
	if strings.HasPrefix(from, "1") {
		b, err = proxyproto.HeaderProxyFromAddrs(2, tcpAddr(from), tcpAddr("198.51.100.1:1883")).Format()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var trusted = edge.ProxyConfig{Trusted: []string{"10.0.0.0/8", "2001:db8::7"}}

func TestTheProxysHeaderTellsTheClient(t *testing.T) {
	local := append([]byte("\r\n\r\n\x00\r\nQUIT\n"), 0x20, 0x00, 0, 0)
	for name, c := range map[string]struct {
		from   string
		header []byte
		want   string
	}{
		"IPv4":                     {"10.1.2.3:5", header(t, "198.51.100.7:40000"), "198.51.100.7:40000"},
		"IPv6, over a proxy's own": {"[2001:db8::7]:5", header(t, "[2001:db8:1::9]:40000"), "[2001:db8:1::9]:40000"},
		"a proxy's health check":   {"10.1.2.3:5", local, "10.1.2.3:5"},
		"no proxy":                 {"192.0.2.1:5", nil, "192.0.2.1:5"},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			client, server := accepted(t, c.from, trusted, &log)
			go func() {
				_, _ = client.Write(append(c.header, "hello"...)) // in one piece: nothing of it may get lost
				_ = client.Close()
			}()
			if err := edge.Of(server).Identify(); err != nil {
				t.Fatal(err)
			}
			if got := server.RemoteAddr().String(); got != c.want {
				t.Errorf("from %s, want %s", got, c.want)
			}
			if b, _ := io.ReadAll(server.(*edge.Conn).NetConn()); string(b) != "hello" {
				t.Errorf("behind the header: %q", b)
			}
		})
	}
}

func TestAHeaderFromElsewhereIsNotBelieved(t *testing.T) {
	var log bytes.Buffer
	client, server := accepted(t, "192.0.2.1:5", trusted, &log)
	sent := header(t, "198.51.100.7:40000")
	go func() {
		_, _ = client.Write(sent)
		_ = client.Close()
	}()
	if got := server.RemoteAddr().String(); got != "192.0.2.1:5" {
		t.Errorf("from %s", got)
	}
	if b, _ := io.ReadAll(server); !bytes.Equal(b, sent) {
		t.Errorf("the header did not stay what it is, bytes: %q", b)
	}
}

func TestATrustedProxyMustSendAHeader(t *testing.T) {
	long := append([]byte("\r\n\r\n\x00\r\nQUIT\n"), 0x21, 0x11, 0xff, 0xff)
	for name, sent := range map[string][]byte{
		"MQTT":          {0x10, 12, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 60, 0, 0, 0, 0, 0, 0},
		"version 1":     []byte("PROXY TCP4 198.51.100.7 198.51.100.1 40000 1883\r\n"),
		"one too long":  long,
		"one of UDP":    append([]byte("\r\n\r\n\x00\r\nQUIT\n"), 0x21, 0x12, 0, 12, 1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 0, 2),
		"no such thing": append([]byte("\r\n\r\n\x00\r\nQUIT\n"), 0x21, 0x13, 0, 12, 1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 0, 2),
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			client, server := accepted(t, "10.1.2.3:5", trusted, &log)
			go func() { _, _ = client.Write(sent) }()
			if err := edge.Of(server).Identify(); err == nil {
				t.Error("it is taken")
			}
			if _, err := server.Read(make([]byte, 1)); err == nil {
				t.Error("it can be read")
			}
			if got := server.RemoteAddr().String(); got != "10.1.2.3:5" {
				t.Errorf("from %s", got)
			}
			if !strings.Contains(log.String(), "no client told by a trusted proxy") {
				t.Errorf("log: %s", &log)
			}
		})
	}
}

// A header that comes a byte at a time, or not at all, is waited for 5 s, or as long as its reader waits if that is less.
func TestAHeaderHasADeadline(t *testing.T) {
	for name, c := range map[string]struct{ reader, want time.Duration }{
		"of its own":      {0, 5 * time.Second},
		"of the reader":   {2 * time.Second, 2 * time.Second},
		"the earlier one": {time.Minute, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				client, server := accepted(t, "10.1.2.3:5", trusted, &log)
				done := make(chan struct{})
				go func() {
					defer close(done)
					for _, b := range header(t, "198.51.100.7:40000") {
						if _, err := client.Write([]byte{b}); err != nil {
							return
						}
						time.Sleep(900 * time.Millisecond)
					}
				}()
				start := time.Now()
				if c.reader > 0 {
					_ = server.SetReadDeadline(start.Add(c.reader))
				}
				if err := edge.Of(server).Identify(); err == nil {
					t.Error("no error")
				}
				if took := time.Since(start); took != c.want {
					t.Errorf("after %v, want %v", took, c.want)
				}
				_ = server.Close()
				_ = client.Close()
				<-done
			})
		})
	}
}

// The reader's own deadline holds again once the header is there.
func TestADeadlineOutlivesTheHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		client, server := accepted(t, "10.1.2.3:5", trusted, &log)
		start := time.Now()
		_ = server.SetReadDeadline(start.Add(8 * time.Second))
		go func() { _, _ = client.Write(header(t, "198.51.100.7:40000")) }()
		if _, err := server.Read(make([]byte, 1)); err == nil {
			t.Error("no error")
		}
		if took := time.Since(start); took != 8*time.Second {
			t.Errorf("after %v", took)
		}
		_ = server.Close()
		_ = client.Close()
	})
}

func TestAddresses(t *testing.T) {
	for s, want := range map[string]string{
		"10.0.0.7": "10.0.0.7/32", "10.1.2.3/8": "10.0.0.0/8", "::ffff:10.0.0.7": "10.0.0.7/32", "2001:db8::1": "2001:db8::1/128", "2001:db8::1/64": "2001:db8::/64",
		"": "", "10.0.0.0/33": "", "example.org": "", "::ffff:0:0/90": "",
	} {
		p, err := edge.ParsePrefix(s)
		if got := p.String(); (err == nil) != (want != "") || want != "" && got != want {
			t.Errorf("%q: %s, %v; want %q", s, got, err, want)
		}
	}
	for s, want := range map[string]string{
		"192.0.2.1": "192.0.2.1/32", "::ffff:192.0.2.1": "192.0.2.1/32", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64",
	} {
		if got := edge.Subscriber(netip.MustParseAddr(s)).String(); got != want {
			t.Errorf("%s: %s, want %s", s, got, want)
		}
	}
	if p := edge.Subscriber(netip.Addr{}); p.IsValid() {
		t.Errorf("no address: %s", p)
	}
}

// FuzzHeader reads whatever a proxy may send: it is refused, or taken to the length it announces and not a byte beyond.
func FuzzHeader(f *testing.F) {
	sig := "\r\n\r\n\x00\r\nQUIT\n"
	for _, seed := range []string{
		sig + "\x21\x11\x00\x0c\xc6\x33\x64\x07\xc6\x33\x64\x01\x9c\x40\x07\x5b", sig + "\x20\x00\x00\x00", sig + "\x21\x11\xff\xff", sig, "PROXY UNKNOWN\r\n",
		sig + "\x21\x11\x00\x0d\xc6\x33\x64\x07\xc6\x33\x64\x01\x9c\x40\x07\x5b", // a byte short of what it announces
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var log bytes.Buffer
		l := &pipeListener{conns: make(chan net.Conn, 1)}
		client, end := net.Pipe()
		l.conns <- pipeEnd{end, tcpAddr("10.0.0.1:1")}
		server, _ := edge.NewListener(l, trusted, nil, slog.New(slog.NewTextHandler(&log, nil))).Accept()
		sent := append(bytes.Clone(b), "rest"...)
		go func() {
			_, _ = client.Write(sent)
			_ = client.Close()
		}()
		if edge.Of(server).Identify() == nil {
			want := sent[16+int(binary.BigEndian.Uint16(sent[14:])):]
			if rest, _ := io.ReadAll(server); !bytes.Equal(rest, want) {
				t.Errorf("%q: the rest is %q, want %q", sent, rest, want)
			}
		}
		_ = server.RemoteAddr().String()
		_ = server.Close()
		_ = client.Close()
	})
}
