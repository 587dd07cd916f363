package pebblestore

import (
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Config is the store's part of the settings (spec 12).
type Config struct {
	// Path is the data folder. The store keeps its files in a folder of its own below it.
	Path string `yaml:"path"`
	// Sync makes Done wait until the disk has the batch. Without it a power cut can lose what was acknowledged in about
	// the last second.
	Sync bool `yaml:"sync"`
}

// Options are what the program gives the store, none of it a setting of the operator. The zero value is useful.
type Options struct {
	// FS is where the files are; nil is the operating system's.
	FS vfs.FS
	// Logger gets lifecycle and trouble; nil discards.
	Logger *slog.Logger
	// Now is the wall clock of ids and expiry; nil is time.Now.
	Now func() time.Time
	// Node is the last four bytes of each id.
	Node uint32
	// OnFatal is called once when the engine's state on disk can no longer be trusted and the process must end; it should
	// not return. Nil panics.
	OnFatal func(error)
	// OnMended is called once when the store failed and its disk takes writes again: it is time to close and open it anew. It must not
	// close the store itself. Nil does nothing.
	OnMended func(failure error)

	// CacheBytes bounds the memory for blocks read from disk; 0 is 64 MB.
	CacheBytes int64
	// MemTableBytes is how much is written between two flushes; 0 is 32 MB.
	MemTableBytes uint64
	// Heads is how many logs' last numbers are kept in memory; 0 is 100,000.
	Heads int
	// SweepEvery is the time between two removals of expired records; 0 is 30 s, negative never.
	SweepEvery time.Duration
}

func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.OnFatal == nil {
		o.OnFatal = func(err error) { panic(err) }
	}
	if o.OnMended == nil {
		o.OnMended = func(error) {}
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 64 << 20
	}
	if o.MemTableBytes == 0 {
		o.MemTableBytes = 32 << 20
	}
	if o.Heads == 0 {
		o.Heads = 100_000
	}
	if o.SweepEvery == 0 {
		o.SweepEvery = 30 * time.Second
	}
	return o
}
