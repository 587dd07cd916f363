package main

import (
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/term"

	"kith/cmd/kith/bench"
)

// options checks the flags.
func (b *benchFlags) options(p *program) (bench.Options, error) {
	o := b.o
	app, err := b.client.key.appID()
	if err != nil {
		return o, err
	}
	if o.Target.Key, err = b.client.key.given(p); err != nil {
		return o, err
	}
	u, tlsConfig, err := b.client.server()
	if err != nil {
		return o, err
	}
	if err := mayLoad(u.Hostname(), b.consent); err != nil {
		return o, err
	}
	o.Target.App, o.Target.Addr, o.Target.TLS = app, u.Host, tlsConfig
	if strings.HasPrefix(u.Scheme, "ws") {
		o.Target.WebSocket = u.String()
	}
	if o.Target.Version = map[string]byte{"5": 5, "3.1.1": 4}[b.protocol]; o.Target.Version == 0 {
		return o, usagef("--mqtt %s: write 5 or 3.1.1", b.protocol)
	}
	if o.Target.Sources, err = parseSources(b.source); err != nil {
		return o, err
	}
	o.QoS = byte(b.qos & 1)
	if file, ok := p.stderr.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		o.Progress = file
	}
	return o, b.check()
}

// check refuses numbers that a run cannot work with. A scenario's unused ones are zero.
func (b *benchFlags) check() error {
	o := &b.o
	messages := o.Window != 0 || o.Size != 0
	switch {
	case len(o.Target.Prefix) == 0 || len(o.Target.Prefix) > 30 || strings.ContainsAny(o.Target.Prefix, "/+#:$ "):
		return usagef("--prefix is 1–30 characters without spaces and / + # : $")
	case b.qos != 0 && b.qos != 1:
		return usagef("--qos %d: write 0 or 1", b.qos)
	case messages && (o.Size < bench.MinSize || o.Size > 128<<10):
		return usagef("--size %d: a message carries what it is checked by; %d–131072 bytes", o.Size, bench.MinSize)
	case messages && (o.Window < 1 || o.Window > bench.MaxWindow):
		return usagef("--window %d: 1–%d", o.Window, bench.MaxWindow)
	case o.Rate < 0 || o.Rate > 10_000_000:
		return usagef("--rate %g: 0–10,000,000", o.Rate)
	case o.Duration < 0 || o.Duration > 10*time.Minute || o.Warmup < 0 || o.Warmup > 10*time.Minute:
		return usagef("--duration, --warmup and --settle are at most 10m")
	case o.Clients < 0 || o.Groups < 0 || o.Members < 0 || o.Publishers < 0 || o.Receivers < 0 || o.Each < 0:
		return usagef("a number of clients, groups, members or messages cannot be negative")
	case messages && o.Clients < 2 && o.Groups*o.Publishers*(o.Members+o.Publishers-1) < 1 && o.Receivers*o.Each < 1,
		!messages && o.Clients < 1:
		return usagef("with so few there is nothing to measure")
	case o.Concurrency < 1:
		return usagef("--concurrency is at least 1")
	case o.Ping < 0 || o.Ping > 0 && o.Ping < time.Second:
		return usagef("--ping is at least 1s")
	}
	return nil
}

// mayLoad refuses to load another machine by a slip.
func mayLoad(host, consent string) error {
	if ip, err := netip.ParseAddr(host); host == "localhost" || err == nil && ip.IsLoopback() || host == consent {
		return nil
	}
	return usagef("%s is not this machine, and this would load it as much as it can: if that is what you want, and may do, add --yes-really-load %s", host, host)
}

// parseSources reads addresses, such as 127.0.0.2-21,::1: a range is over the last number.
func parseSources(text string) (list []netip.Addr, err error) {
	for item := range strings.SplitSeq(text, ",") {
		if item == "" {
			continue
		}
		first, last, ranged := strings.Cut(item, "-")
		ip, err := netip.ParseAddr(first)
		if err != nil {
			return nil, usagef("--source %q is no address", item)
		}
		end := ip
		if ranged {
			n, err := strconv.ParseUint(last, 10, 8)
			b := ip.AsSlice()
			if err != nil || !ip.Is4() || byte(n) < b[3] {
				return nil, usagef("--source %q: a range is such as 127.0.0.2-21", item)
			}
			b[3] = byte(n)
			end, _ = netip.AddrFromSlice(b)
		}
		for ; ip.Compare(end) <= 0; ip = ip.Next() {
			list = append(list, ip)
		}
	}
	return list, nil
}
