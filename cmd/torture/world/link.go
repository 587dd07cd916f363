package world

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// Link is one way of the network, from a port of its own to a process.
type Link struct {
	Addr   string // host:port that leads to the process
	Direct string // the process's own, past the link

	proxy *toxiproxy.Proxy
}

// network makes links.
type network struct{ server *toxiproxy.ApiServer }

func newNetwork() *network {
	zerolog.SetGlobalLevel(zerolog.Disabled) // it traces to the process's output
	metrics := toxiproxy.NewMetricsContainer(prometheus.NewRegistry())
	return &network{toxiproxy.NewServer(metrics, zerolog.Nop())}
}

// link leads to a process's host:port.
func (n *network) link(name, to string) (*Link, error) {
	l := &Link{Direct: to, proxy: toxiproxy.NewProxy(n.server, name, "127.0.0.1:0", to)}
	if err := l.proxy.Start(); err != nil {
		return nil, fmt.Errorf("proxy to %s: %w", name, err)
	}
	l.Addr = l.proxy.Listen
	return l, nil
}

// Cut ends all connections and refuses new ones, until Heal.
func (l *Link) Cut() { l.proxy.Stop() }

// Swallow lets everything vanish that is sent, both ways, without ending a connection, until Heal.
func (l *Link) Swallow() error {
	return l.both("timeout", map[string]int{"timeout": 0})
}

// Slow delays everything by so many ms, plus or minus half as many, and lets through so many KB a second, until Heal.
func (l *Link) Slow(ms, kb int) error {
	if err := l.both("latency", map[string]int{"latency": ms, "jitter": ms / 2}); err != nil {
		return err
	}
	return l.both("bandwidth", map[string]int{"rate": kb})
}

// healWithin is how long the connections of a link may take to let go of what was done to it.
const healWithin = 3 * time.Second

// Heal makes the link whole again. Connections whose far end takes nothing do not let go, and are cut.
func (l *Link) Heal() error {
	healed := make(chan struct{})
	go func() {
		l.proxy.Toxics.ResetToxics(context.Background())
		close(healed)
	}()
	for cuts := 0; ; cuts++ {
		select {
		case <-healed:
			if l.proxy.Enabled {
				return nil
			}
			return l.proxy.Start()
		case <-time.After(healWithin):
			if cuts > 2 {
				return fmt.Errorf("the link to %s does not heal", l.proxy.Name)
			}
			l.proxy.Stop()
		}
	}
}

func (l *Link) both(kind string, attributes map[string]int) error {
	for _, stream := range []string{"upstream", "downstream"} {
		text, err := json.Marshal(map[string]any{"type": kind, "stream": stream, "attributes": attributes})
		if err != nil {
			return err
		}
		if _, err := l.proxy.Toxics.AddToxicJson(bytes.NewReader(text)); err != nil {
			return fmt.Errorf("%s on the link to %s: %w", kind, l.proxy.Name, err)
		}
	}
	return nil
}
