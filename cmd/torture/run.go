package main

import (
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"kith/broker"
	"kith/cmd/torture/load"
	"kith/cmd/torture/world"
)

const (
	masterKey = "master-key-of-the-torture"
	lease     = 2 * time.Second
	calm      = 2 * time.Second // between two faults, at most
)

// The apps have the same peers, so that what crosses from one to the other shows.
const (
	appOne broker.AppID = "one"
	appTwo broker.AppID = "two"
)

// ample is queue.messages of the first app: nothing falls out.
const ample = 100_000

// run torments a world of its own and tells what came of it.
func run(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp("", "kith-torture-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\nThe logs are kept in %s", err, dir)
			return
		}
		err = os.RemoveAll(dir)
	}()
	if err := o.build(ctx, dir); err != nil {
		return err
	}
	fmt.Printf("seed %d: %s, %d nodes, %g messages/s, faults for %v\n", o.seed, o.engine, o.nodes, o.rate, o.time)
	w, err := world.Start(ctx, world.Options{
		Dir: dir, Kith: o.kith, Engine: o.engine, Nodes: o.nodes, Lease: lease, Key: masterKey, Disks: true,
		Apps: []world.App{{ID: appOne, Queue: ample}, {ID: appTwo, Queue: o.queue}},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Stop()) }()
	l := load.New(load.Options{
		Apps: []broker.AppID{appOne, appTwo}, Key: masterKey, Peers: o.peers, Groups: o.peers / 6, Members: 8, Rate: o.rate, Size: 200, Seed: o.seed,
		Clients: w.Clients, REST: w.Nodes[0].URL,
	})
	if err := l.Start(ctx); err != nil {
		return err
	}
	defer l.Stop()
	s := &scene{World: w, load: l, o: &o, r: rand.New(rand.NewPCG(o.seed, 2))} //nolint:gosec // repeatable, no secret
	l.Send(true)
	done, err := s.torment(ctx)
	l.Send(false)
	if err != nil {
		return err
	}
	if err := w.Stands(ctx); err != nil {
		return err
	}
	fmt.Println("healed; checking")
	r, err := l.Check(ctx)
	if err != nil {
		return err
	}
	return s.tell(r, done)
}

// build makes the program, unless one is given, and tells from it which faults it takes.
func (o *options) build(ctx context.Context, dir string) error {
	if o.kith == "" {
		if err := o.buildKith(ctx, dir); err != nil {
			return err
		}
	}
	info, err := buildinfo.ReadFile(o.kith)
	if err != nil {
		return fmt.Errorf("--kith: %w", err)
	}
	for _, s := range info.Settings {
		if s.Key == "-tags" {
			o.tags = strings.Split(s.Value, ",")
		}
	}
	if len(o.chosen()) == 0 {
		return fmt.Errorf("none of these faults is for --engine %s and this program, built with -tags %q", o.engine, strings.Join(o.tags, ","))
	}
	return nil
}

func (o *options) buildKith(ctx context.Context, dir string) error {
	o.kith = filepath.Join(dir, "kith")
	args := []string{"build", "-tags", world.ClockTag, "-o", o.kith}
	if o.race {
		args = append(args, "-race")
	}
	if said, err := exec.CommandContext(ctx, "go", append(args, "kith/cmd/kith")...).CombinedOutput(); err != nil { //nolint:gosec // the go command, with a folder of our own
		return fmt.Errorf("build kith: %w\n%s", err, said)
	}
	return nil
}

// torment does faults for as long as it was asked to.
func (s *scene) torment(ctx context.Context) (done []event, err error) {
	list := s.o.chosen()
	began, departed := time.Now(), false
	world.Pause(ctx, s.lasts(0, calm))
	for time.Since(began) < s.o.time && ctx.Err() == nil {
		if !departed && time.Since(began) > s.o.time*3/4 {
			departed = true
			s.load.Depart()
		}
		f := list[s.r.IntN(len(list))]
		at := time.Since(began)
		what, err := f.do(ctx, s)
		if err != nil {
			return done, fmt.Errorf("%s: %w", f.name, err)
		}
		done = append(done, event{at.Round(time.Millisecond).Seconds(), f.name, what})
		fmt.Printf("%7.1f s  %-14s %s; %s\n", at.Seconds(), f.name, what, s.load.Progress())
		world.Pause(ctx, s.lasts(0, calm))
	}
	return done, ctx.Err()
}
