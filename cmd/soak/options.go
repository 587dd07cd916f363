package main

import (
	"errors"
	"time"

	"github.com/spf13/pflag"
)

// options are what a run does.
type options struct {
	time time.Duration
	rate float64
	kith string
	dir  string
	csv  string
	json string
	svg  string
}

// shortest is the least time that says anything: some rounds, and messages old enough to be removed.
const shortest = time.Minute

func parse(args []string) (o options, err error) {
	f := pflag.NewFlagSet("soak", pflag.ContinueOnError)
	f.SortFlags = false
	f.DurationVar(&o.time, "time", 30*time.Minute, "how `long`, at least 1m")
	f.Float64Var(&o.rate, "rate", 0, "`messages` a second; 0: half of what is measured first")
	f.StringVar(&o.kith, "kith", "", "the `program` to run (default: built from this module)")
	f.StringVar(&o.dir, "dir", "", "the `folder` for the server's data, on the disk that matters (default: the system's for temporary files)")
	f.StringVar(&o.csv, "csv", "", "a `file` for the samples")
	f.StringVar(&o.json, "json", "", "a `file` for samples and verdict")
	f.StringVar(&o.svg, "svg", "", "a `file` for the graph")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if o.time < shortest || o.rate < 0 {
		return o, errors.New("--time is at least 1m, --rate not negative")
	}
	return o, nil
}

// every is the time between two samples, and between two rounds' ends.
func (o *options) every() time.Duration { return max(2*time.Second, o.time/360) }

// keep is history.age: by the half of the run the store has to be as large as it gets.
func (o *options) keep() time.Duration { return max(10*time.Second, o.time/10) }
