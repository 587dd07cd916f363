package pebblestore

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	// mendEvery is how often a failed store tries whether its disk takes writes again.
	mendEvery = time.Second
	// probeBytes is what it writes then: with less than that free the next start would soon fail, too.
	probeBytes = 4 << 20
	probeFile  = "probe"
)

// mending waits, after a failure, for the disk. What the disk has of the last writes only a new Open can tell.
type mending struct {
	ctx  context.Context //nolint:containedctx // the store's lifetime
	stop context.CancelFunc
	done sync.WaitGroup
}

func (s *Store) startMending() {
	s.mending.ctx, s.mending.stop = context.WithCancel(context.Background())
}

// awaitMended calls OnMended when the disk of a failed store takes writes again, unless the store is closed before.
func (s *Store) awaitMended(failure error) {
	tick := time.NewTicker(mendEvery)
	defer tick.Stop()
	for s.mending.ctx.Err() == nil {
		if s.probe() == nil {
			s.opts.OnMended(failure)
			return
		}
		select {
		case <-tick.C:
		case <-s.mending.ctx.Done():
		}
	}
}

// probe writes a file beside the engine's, and removes it.
func (s *Store) probe() error {
	fs := s.opts.FS
	path := fs.PathJoin(s.cfg.Path, probeFile)
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, probeBytes))
	return errors.Join(err, f.Sync(), f.Close(), fs.Remove(path))
}
