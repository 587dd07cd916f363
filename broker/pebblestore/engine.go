package pebblestore

import (
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
)

// engineOptions tunes Pebble for much writing by one goroutine, few keys, and reads of single records and short stretches.
func (s *Store) engineOptions() *pebble.Options {
	o := &pebble.Options{
		FS:                          s.opts.FS,
		Lock:                        s.lock,
		Cache:                       s.cache,
		Logger:                      &engineLogger{s},
		FormatMajorVersion:          pebble.FormatNewest,
		MemTableSize:                s.opts.MemTableBytes,
		MemTableStopWritesThreshold: 4,
		// Fewer, larger compactions: reads are few, and each rewrite of a message costs what a new one does.
		L0CompactionThreshold:      4,
		L0StopWritesThreshold:      24,
		LBaseMaxBytes:              256 << 20,
		CompactionConcurrencyRange: func() (int, int) { return 1, 2 },
		WALBytesPerSync:            0, // each group is synced anyway
		EventListener:              s.events(),
	}
	o.TargetFileSizes[0] = 8 << 20
	// Level 0 is soon rewritten: compressing it would be work for nothing. Bloom filters spare the look-ups of
	// records and nonces that are not there.
	for i := range o.Levels {
		o.Levels[i].BlockSize = 16 << 10
		o.Levels[i].IndexBlockSize = 64 << 10
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		o.Levels[i].FilterType = pebble.TableFilter
		compression := sstable.SnappyCompression
		if i == 0 {
			compression = sstable.NoCompression
		}
		o.Levels[i].Compression = func() *sstable.CompressionProfile { return compression }
	}
	return o
}

func (s *Store) events() *pebble.EventListener {
	log := s.opts.Logger
	return &pebble.EventListener{
		BackgroundError: func(err error) {
			s.meter.troubled()
			log.Error("store background work failed, it is tried again", "error", err)
		},
		WriteStallBegin: func(info pebble.WriteStallBeginInfo) {
			s.meter.stalled()
			log.Warn("store writes wait for the disk", "reason", info.Reason)
		},
		DiskSlow: func(info pebble.DiskSlowInfo) {
			log.Warn("disk is slow", "operation", info.OpType.String(), "path", info.Path, "took", info.Duration)
		},
	}
}

// engineLogger gives what Pebble says to the store's logger.
type engineLogger struct{ s *Store }

var _ pebble.Logger = (*engineLogger)(nil)

func (l *engineLogger) Infof(format string, args ...any) {
	if log := l.s.opts.Logger; log.Enabled(nil, slog.LevelDebug) { //nolint:staticcheck // there is no context
		log.Debug("engine", "says", fmt.Sprintf(format, args...))
	}
}

func (l *engineLogger) Errorf(format string, args ...any) {
	l.s.opts.Logger.Warn("engine", "says", fmt.Sprintf(format, args...))
}

// Fatalf must not return: Pebble goes on as if it had not.
func (l *engineLogger) Fatalf(format string, args ...any) {
	err := fmt.Errorf("engine gives up: "+format, args...)
	l.s.fail(err)
	if l.s.fatal.CompareAndSwap(false, true) {
		l.s.opts.OnFatal(err)
	}
	panic(err)
}
