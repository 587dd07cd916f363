package main

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"kith/cmd/torture/load"
	"kith/cmd/torture/world"
)

// scene is what faults act on.
type scene struct {
	*world.World
	load *load.Load
	r    *rand.Rand
	o    *options
}

// fault is one way to torment. do makes it, lets it last, and heals it; it tells what it did to whom.
type fault struct {
	name    string
	engines []world.Engine // that it is for; nil: all
	tag     string         // that the program must be built with; "": any will do
	do      func(ctx context.Context, s *scene) (string, error)
}

// faults are all there are.
var faults = []fault{
	{"node-kill", nil, "", nodeKill},
	{"node-stop", nil, "", nodeStop},
	{"node-pause", nil, "", nodePause},
	{"clock-jump", nil, world.ClockTag, clockJump},
	{"clients-cut", nil, "", clientsCut},
	{"clients-slow", nil, "", clientsSlow},
	{"clients-swallow", nil, "", clientsSwallow},
	{"disk-full", []world.Engine{world.Pebble}, "", diskFull},
	{"disk-fails", []world.Engine{world.Pebble}, "", diskFails},
	{"redis-kill", []world.Engine{world.Redis}, "", redisKill},
	{"redis-stop", []world.Engine{world.Redis}, "", redisStop},
	{"redis-cut", []world.Engine{world.Redis}, "", redisCut},
	{"redis-slow", []world.Engine{world.Redis}, "", redisSlow},
	{"redis-swallow", []world.Engine{world.Redis}, "", redisSwallow},
	{"redis-failover", []world.Engine{world.Sentinel}, "", redisFailover},
	{"deaf", nil, "", deaf},
	{"mute", nil, "", mute},
	{"storm", nil, "", storm},
}

func faultNames() (names []string) {
	for _, f := range faults {
		names = append(names, f.name)
	}
	return names
}

// chosen are the faults that a run picks from.
func (o *options) chosen() (list []fault) {
	for _, f := range faults {
		named := len(o.faults) == 0 || slices.Contains(o.faults, f.name)
		built := f.tag == "" || slices.Contains(o.tags, f.tag)
		if named && built && (len(f.engines) == 0 || slices.Contains(f.engines, o.engine)) {
			list = append(list, f)
		}
	}
	return list
}

// lasts is a time from low to high.
func (s *scene) lasts(low, high time.Duration) time.Duration {
	return low + time.Duration(s.r.Int64N(int64(high-low)))
}

func (s *scene) node() *world.Node { return s.Nodes[s.r.IntN(len(s.Nodes))] }
