package pebblestore_test

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"kith/broker"
	"kith/broker/pebblestore"
	"kith/broker/storetest"
)

// clock is a wall clock that tests move by hand.
type clock struct{ at atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.at.Store(1_800_000_000_000)
	return c
}

func (c *clock) now() time.Time          { return time.UnixMilli(c.at.Load()) }
func (c *clock) advance(d time.Duration) { c.at.Add(d.Milliseconds()) }

func open(t testing.TB, cfg pebblestore.Config, opts pebblestore.Options) *pebblestore.Store {
	t.Helper()
	opts.SweepEvery = -1
	if opts.MemTableBytes == 0 {
		opts.MemTableBytes = 1 << 20
	}
	s, err := pebblestore.Open(cfg, opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSuiteInMemory(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(testing.TB) storetest.Factory {
		c := newClock()
		fs := vfs.NewCrashableMem()
		rng := rand.New(rand.NewPCG(1, 2))
		return storetest.Factory{
			Open: func(t testing.TB) broker.Store {
				return open(t, pebblestore.Config{Path: "data", Sync: true}, pebblestore.Options{FS: fs, Now: c.now})
			},
			Crash: func(testing.TB) {
				fs = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rng})
			},
			Now:     c.now,
			Advance: c.advance,
		}
	})
}

func TestSuiteOnDisk(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t testing.TB) storetest.Factory {
		dir := t.TempDir()
		c := newClock()
		return storetest.Factory{
			Open: func(t testing.TB) broker.Store {
				// A small cache of heads, so that most numbers are read from the log.
				return open(t, pebblestore.Config{Path: dir, Sync: true}, pebblestore.Options{Now: c.now, Heads: 4, MemTableBytes: 256 << 10})
			},
			Now:     c.now,
			Advance: c.advance,
		}
	})
}

func TestSuiteWithoutSync(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(testing.TB) storetest.Factory {
		fs := vfs.NewMem()
		return storetest.Factory{Open: func(t testing.TB) broker.Store {
			return open(t, pebblestore.Config{Path: "data"}, pebblestore.Options{FS: fs})
		}}
	})
}
