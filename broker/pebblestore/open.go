package pebblestore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"kith/broker"
)

// formatVersion is the layout of keys and values that this package writes.
const formatVersion = 1

// folder holds the engine's files, below Config.Path.
const folder = "store"

// Store is the embedded store. It implements broker.Store; see the package comment for what it promises.
type Store struct {
	cfg   Config
	opts  Options
	db    *pebble.DB
	cache *pebble.Cache
	lock  *pebble.Lock

	queue   queue
	flights chan flight
	clock   *broker.IDClock   // used by the committer
	heads   *heads            // the committer's
	sizes   map[sizeKey]int64 // the committer's
	meter   meter

	visible  atomic.Uint64 // the clock of the newest id that logs show
	unsynced atomic.Bool   // something was written since the last sync
	failed   atomic.Pointer[error]
	fatal    atomic.Bool // the engine asked for the end of the process
	broken   atomic.Bool // the engine cannot be closed any more

	reading  sync.RWMutex // held shared by reads
	closed   bool         // guarded by reading
	closing  sync.Once
	closeErr error
	finished chan struct{}
	sweeping sweeping
	mending  mending
	backing  sync.Mutex // held by a backup

	refusals sync.Mutex
	refused  []*broker.Batch // guarded by refusals
}

// Open opens the store in the data folder, making it where there is none.
func Open(cfg Config, opts Options) (*Store, error) {
	s := &Store{cfg: cfg, opts: opts.withDefaults(), finished: make(chan struct{})}
	s.flights = make(chan flight, inFlight)
	s.queue.init()
	path := s.opts.FS.PathJoin(cfg.Path, folder)
	if err := s.open(path); err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	last, err := s.prepare()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open store %s: %w", path, err), s.closeEngine())
	}
	s.clock = broker.NewIDClock(s.opts.Node, last, s.opts.Now)
	s.visible.Store(clockOf(last))
	s.heads = newHeads(s.opts.Heads)
	s.sizes = map[sizeKey]int64{}
	s.startMending()
	go s.commit()
	go s.finish()
	s.sweeping.start(s)
	return s, nil
}

func (s *Store) open(path string) error {
	if err := makeFolder(s.opts.FS, path); err != nil {
		return err
	}
	lock, err := pebble.LockDirectory(path, s.opts.FS)
	if err != nil {
		return fmt.Errorf("another kith runs on this folder: stop it, or give this one a store.path of its own (%w)", err)
	}
	s.lock = lock
	s.cache = pebble.NewCache(s.opts.CacheBytes)
	s.db, err = pebble.Open(path, s.engineOptions())
	if err != nil {
		s.cache.Unref()
		return errors.Join(err, lock.Close())
	}
	return nil
}

// makeFolder makes path and syncs the folders that hold the new ones, so that a crash leaves all or none.
func makeFolder(fs vfs.FS, path string) error {
	var parents []string
	for p := path; ; p = fs.PathDir(p) {
		if _, err := fs.Stat(p); err == nil || p == fs.PathDir(p) {
			break
		}
		parents = append(parents, fs.PathDir(p))
	}
	if err := fs.MkdirAll(path, 0o700); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	for _, p := range parents {
		if p == "" {
			p = "."
		}
		if err := syncFolder(fs, p); err != nil {
			return err
		}
	}
	return nil
}

func syncFolder(fs vfs.FS, path string) error {
	dir, err := fs.OpenDir(path)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	return nil
}

// prepare checks the format, or writes it into a new store, and returns the greatest id ever given.
func (s *Store) prepare() (last broker.MessageID, err error) {
	stored, err := s.serverValue(keyFormat)
	if err != nil {
		return last, err
	}
	if stored == nil {
		if err := s.db.Set([]byte(keyFormat), binary.AppendUvarint(nil, formatVersion), pebble.Sync); err != nil {
			return last, fmt.Errorf("write format version: %w", err)
		}
		return last, nil
	}
	version, w := binary.Uvarint(stored)
	switch {
	case w <= 0:
		return last, fmt.Errorf("format version: %w", errCorrupt)
	case version > formatVersion:
		return last, fmt.Errorf("its format is version %d and this kith reads up to %d: start the newer kith that wrote it, or restore a backup made by this one", version, formatVersion)
	}
	stored, err = s.serverValue(keyLast)
	if err != nil {
		return last, err
	}
	if stored != nil && len(stored) != idSize {
		return last, fmt.Errorf("last id: %w", errCorrupt)
	}
	copy(last[:], stored)
	return last, nil
}

func (s *Store) serverValue(key string) ([]byte, error) {
	stored, closer, err := s.db.Get([]byte(key))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	value := append([]byte{}, stored...)
	if err := closer.Close(); err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	return value, nil
}

// Close implements broker.Store. What was committed is durable when it returns, lazy batches too.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.sweeping.stop()
		s.mending.stop()
		s.queue.close()
		<-s.finished
		s.mending.done.Wait()
		s.reading.Lock()
		s.closed = true
		s.reading.Unlock()
		s.closeErr = s.closeEngine()
	})
	return s.closeErr
}

func (s *Store) closeEngine() error {
	if s.broken.Load() {
		return fmt.Errorf("close store: %w", s.failure())
	}
	err := s.db.Close()
	s.cache.Unref()
	if err = errors.Join(err, s.lock.Close()); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}

// Ping implements broker.Store: it writes to the engine's log and waits for the disk.
func (s *Store) Ping(ctx context.Context) error {
	told := make(chan error, 1)
	if !s.queue.put(item{flush: true, told: func(err error) { told <- err }}, 0, 0) {
		return broker.ErrStoreClosed
	}
	select {
	case err := <-told:
		return err
	case <-ctx.Done():
		return fmt.Errorf("ping store: %w", ctx.Err())
	}
}

// fail ends all writing: what the disk has is not known any more. Reads go on with what was durable.
func (s *Store) fail(err error) {
	if s.failed.CompareAndSwap(nil, &err) {
		s.opts.Logger.Error("store failed, nothing is accepted until a restart", "error", err)
		s.mending.done.Go(func() { s.awaitMended(err) })
	}
}

func (s *Store) failure() error {
	if err := s.failed.Load(); err != nil {
		return fmt.Errorf("store failed: %w", *err)
	}
	return nil
}
