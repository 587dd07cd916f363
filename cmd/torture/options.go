package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"kith/cmd/torture/world"
)

// options are what a run does.
type options struct {
	seed   uint64
	time   time.Duration
	engine world.Engine
	nodes  int
	faults []string
	rate   float64
	peers  int
	storm  int
	queue  int
	kith   string
	race   bool
	tags   []string // that kith was built with
	out    string
}

func parse(args []string) (o options, err error) {
	f := pflag.NewFlagSet("torture", pflag.ContinueOnError)
	f.SortFlags = false
	engine := f.String("engine", "pebble", "the `store`: pebble, redis or sentinel")
	f.IntVar(&o.nodes, "nodes", 1, "how many `nodes`; several share a Redis")
	f.DurationVar(&o.time, "time", time.Minute, "how `long` faults are done")
	f.Uint64Var(&o.seed, "seed", 0, "chooses the load and the faults; 0: a new one")
	f.StringSliceVar(&o.faults, "faults", nil, "which `faults` to choose from (default: all that the store knows): "+strings.Join(faultNames(), ", "))
	f.Float64Var(&o.rate, "rate", 300, "`messages` a second")
	f.IntVar(&o.peers, "peers", 24, "`peers` of each of the two apps")
	f.IntVar(&o.storm, "storm", 500, "`clients` that reconnect at once in a storm")
	f.IntVar(&o.queue, "queue", 50, "`messages` that the second app keeps for an absent device; what falls out must be in missed")
	f.StringVar(&o.kith, "kith", "", "the `program` to torment, best built with -tags "+world.ClockTag+": without, clock-jump is left out (default: built so from this module)")
	f.BoolVar(&o.race, "race", false, "build it with the race detector")
	f.StringVar(&o.out, "out", "", "a `file` for the JSON")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.engine = world.Engine(*engine)
	if o.seed == 0 {
		o.seed = rand.Uint64N(1 << 32) //nolint:gosec // no secret
	}
	return o, o.check()
}

func (o *options) check() error {
	switch {
	case !slices.Contains([]world.Engine{world.Pebble, world.Redis, world.Sentinel}, o.engine):
		return fmt.Errorf("--engine %s: write pebble, redis or sentinel", o.engine)
	case o.nodes < 1 || o.nodes > 5:
		return fmt.Errorf("--nodes %d: 1–5", o.nodes)
	case o.engine == world.Pebble && o.nodes > 1:
		return fmt.Errorf("--nodes %d: several nodes need --engine redis or sentinel", o.nodes)
	case o.rate <= 0 || o.rate > 10_000 || o.peers < 8 || o.peers > 1000:
		return fmt.Errorf("--rate is at most 10000, --peers 8–1000")
	case o.queue < 1 || o.queue > ample:
		return fmt.Errorf("--queue %d: 1–%d", o.queue, ample)
	case o.storm < 1 || o.storm > 20_000:
		return fmt.Errorf("--storm %d: 1–20000", o.storm)
	case o.time <= 0:
		return fmt.Errorf("--time is more than 0s")
	}
	for _, name := range o.faults {
		if !slices.Contains(faultNames(), name) {
			return fmt.Errorf("--faults %s: there are %s", name, strings.Join(faultNames(), ", "))
		}
	}
	return nil
}
