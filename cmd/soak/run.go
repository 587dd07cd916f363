package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"kith/cmd/torture/world"
)

const masterKey = "master-key-of-the-soak"

// run soaks a server of its own.
func run(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp(o.dir, "kith-soak-")
	if err != nil {
		return err
	}
	defer func() {
		if err == nil {
			err = os.RemoveAll(dir)
		} else {
			err = fmt.Errorf("%w\nThe log is kept in %s", err, dir)
		}
	}()
	if o.kith == "" {
		o.kith = filepath.Join(dir, "kith")
		if said, err := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", o.kith, "kith/cmd/kith").CombinedOutput(); err != nil { //nolint:gosec // the go command, with a folder of our own
			return fmt.Errorf("build kith: %w\n%s", err, said)
		}
	}
	w, err := world.Start(ctx, world.Options{
		Dir: dir, Kith: o.kith, Engine: world.Pebble, Nodes: 1, Lease: lease, Key: masterKey,
		Apps: []world.App{{ID: app, Queue: waiting, History: o.keep()}},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Stop()) }()
	l := newLoad(w.Nodes[0])
	if o.rate == 0 {
		if o.rate, err = l.half(ctx); err != nil {
			return err
		}
	}
	fmt.Printf("%.0f messages/s for %v, history.age %v, a sample every %v\n", o.rate, o.time, o.keep(), o.every())
	samples, err := soak(ctx, w.Nodes[0], l, &o)
	if err != nil {
		return err
	}
	if ends := w.Nodes[0].Ends(); ends > 0 {
		return fmt.Errorf("the server ended %d times", ends)
	}
	return conclude(&o, samples, l.rounds.Load())
}

// lease is of no matter for one node.
const lease = 10 * time.Second

// soak loads and samples until the time is over.
func soak(ctx context.Context, n *world.Node, l *soakLoad, o *options) ([]sample, error) {
	over, cancel := context.WithTimeout(ctx, o.time)
	defer cancel()
	var jobs errgroup.Group
	jobs.Go(func() error { return l.talk(over, o.rate, o.every()) })
	jobs.Go(func() error { return l.churn(over) })
	s := &sampler{node: n, load: l, began: time.Now()}
	tick := time.NewTicker(o.every())
	defer tick.Stop()
	var failed error
	for over.Err() == nil && failed == nil {
		select {
		case <-tick.C:
			failed = s.take(over)
		case <-over.Done():
		}
	}
	cancel()
	if err := jobs.Wait(); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return s.samples, failed
}
