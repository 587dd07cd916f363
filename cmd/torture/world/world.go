package world

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"kith/broker"
	"kith/broker/redisstore/redistest"
)

// Options are what a world is made of.
type Options struct {
	Dir    string // gets all files
	Kith   string // the program
	Engine Engine
	Nodes  int
	Lease  time.Duration
	Apps   []App
	Key    string // the apps' master key
	Disks  bool   // each node of the embedded store gets a small disk of its own where this may be done
}

// App is one of the tenants.
type App struct {
	ID      broker.AppID
	Queue   int           // queue.messages
	History time.Duration // history.age
}

// readyWithin is how long a world may take to stand, and to stand again.
const readyWithin = time.Minute

// World is a running system.
type World struct {
	Nodes []*Node

	o       Options
	network *network
	redis   *redis
	running sync.WaitGroup
	stop    context.CancelFunc
}

// Start starts everything and returns when all nodes are ready. What runs when it fails is stopped again.
func Start(ctx context.Context, o Options) (_ *World, err error) {
	w := &World{o: o, network: newNetwork()}
	ctx, w.stop = context.WithCancel(ctx)
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Stop())
		}
	}()
	if o.Engine != Pebble {
		if w.redis, err = startRedis(o.Dir, o.Engine == Sentinel); err != nil {
			return nil, err
		}
	}
	for i := range o.Nodes {
		n, err := w.newNode(fmt.Sprintf("node%d", i+1))
		if err != nil {
			return nil, err
		}
		w.Nodes = append(w.Nodes, n)
		w.running.Go(func() { n.run(ctx) })
	}
	return w, w.Stands(ctx)
}

func (w *World) newNode(name string) (n *Node, err error) {
	dir := filepath.Join(w.o.Dir, name)
	n = &Node{Name: name, kith: w.o.Kith, config: filepath.Join(dir, "kith.yaml"), clock: filepath.Join(dir, "clock"), Data: filepath.Join(dir, "data")}
	if err = os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	mqtt, err := freeAddr()
	if err != nil {
		return nil, err
	}
	if n.http, err = freeAddr(); err != nil {
		return nil, err
	}
	if n.Clients, err = w.network.link(name, mqtt); err != nil {
		return nil, err
	}
	if w.o.Engine == Pebble && w.o.Disks {
		if n.disk, err = newDisk(n.Data); err != nil {
			return nil, err
		}
	}
	if w.o.Engine == Redis {
		if n.Redis, err = w.network.link("redis of "+name, w.redis.servers[0].Addr); err != nil {
			return nil, err
		}
	}
	file, err := os.OpenFile(filepath.Join(w.o.Dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	n.log.file = file
	return n, w.write(n, mqtt)
}

// freeAddr is a port of the loopback that nobody listens on.
func freeAddr() (string, error) {
	port, err := redistest.FreePort()
	return fmt.Sprintf("127.0.0.1:%d", port), err
}

// Stands returns when all nodes are ready.
func (w *World) Stands(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for _, n := range w.Nodes {
		for !n.Ready(ctx) {
			if ctx.Err() != nil {
				return fmt.Errorf("%s is not ready within %v, its log tells why: %w", n.Name, readyWithin, ctx.Err())
			}
			Pause(ctx, 50*time.Millisecond)
		}
	}
	return nil
}

// Clients are where clients connect.
func (w *World) Clients() (addrs []string) {
	for _, n := range w.Nodes {
		addrs = append(addrs, n.Clients.Addr)
	}
	return addrs
}

// Stop ends all nodes in order, then Redis.
func (w *World) Stop() error {
	w.stop()
	w.running.Wait()
	var errs []error
	for _, n := range w.Nodes {
		n.Clients.Cut()
		if n.Redis != nil {
			n.Redis.Cut()
		}
		errs = append(errs, n.disk.remove(), n.log.file.Close())
	}
	if w.redis != nil {
		w.redis.stop()
	}
	return errors.Join(errs...)
}

// Pause waits, unless ctx ends before.
func Pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
