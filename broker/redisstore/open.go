package redisstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"kith/broker"
)

// formatVersion is the layout of keys and values that this package writes.
const formatVersion = 1

// Store is the distributed store. It implements broker.Store; see the package comment for what it promises.
type Store struct {
	opts   Options
	client redis.UniversalClient
	keys   layout
	clock  clock
	node   uint16 // the end of the ids that this store asks for, even

	inboxKeep string // Options.InboxKeep, as scripts take it
	mixed     string // "1" with several shards, as scripts take it

	replicas int  // Config.WaitReplicas
	disk     bool // Config.WaitDisk

	queue    queue
	meter    meter
	flights  chan []item
	finished chan struct{}
	closed   atomic.Bool
	closing  sync.Once
	closeErr error
	sweeping sweeping
	gathered gathered

	refusals sync.Mutex
	refused  []*broker.Batch // guarded by refusals
}

// Open connects to Redis and makes the store there if it is the first.
func Open(cfg Config, opts Options) (*Store, error) {
	s := &Store{opts: opts.withDefaults(), replicas: cfg.WaitReplicas, disk: cfg.WaitDisk, finished: make(chan struct{}), flights: make(chan []item, inFlight)}
	s.clock.now = s.opts.Now
	s.inboxKeep = strconv.FormatUint(s.opts.InboxKeep, 10)
	s.queue.init()
	if cfg.Prefix == "" {
		cfg.Prefix = defaultPrefix
	}
	quiet()
	if err := s.open(cfg); err != nil {
		if s.client != nil {
			err = errors.Join(err, s.client.Close())
		}
		return nil, fmt.Errorf("open store at redis %s: %w", strings.Join(cfg.Addrs, ", "), err)
	}
	go s.commit()
	go s.tell()
	s.sweeping.start(s)
	return s, nil
}

func (s *Store) open(cfg Config) error {
	if strings.ContainsAny(cfg.Prefix, "{}\x00") {
		return fmt.Errorf("prefix %q: %w: it holds a brace", cfg.Prefix, errSetting)
	}
	if s.opts.Shards < 0 || s.opts.Shards > maxShards {
		return fmt.Errorf("%d shards: %w: at most %d", s.opts.Shards, errSetting, maxShards)
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.opts.Timeout)
	defer cancel()
	for {
		err := s.begun(ctx, cfg)
		if err == nil {
			return nil
		}
		if err = advise(cfg, err); errors.Is(err, errSetting) {
			return err
		}
		select { // it may be starting too
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// begun is one attempt to connect and read where the store stands.
func (s *Store) begun(ctx context.Context, cfg Config) error {
	var err error
	if s.client == nil {
		if s.client, err = connect(ctx, cfg, s.opts); err != nil {
			return err
		}
	}
	if err := s.inspect(ctx); err != nil {
		return err
	}
	_, cluster := s.client.(*redis.ClusterClient)
	shards := s.opts.Shards
	switch {
	case shards != 0:
	case cluster:
		shards = clusterShards
	default:
		shards = 1
	}
	if shards, err = s.agree(ctx, cfg.Prefix+":store", shards); err != nil {
		return err
	}
	s.keys, s.mixed = newLayout(cfg.Prefix, shards), "0"
	if shards > 1 {
		s.mixed = "1"
	}
	return s.catchUp(ctx)
}

// agree reads the format and the number of shards of the store that is there, or writes those of a new one.
func (s *Store) agree(ctx context.Context, key string, shards int) (int, error) {
	p := s.client.Pipeline()
	p.HSetNX(ctx, key, "shards", shards)
	p.HSetNX(ctx, key, "version", formatVersion)
	opened := p.HIncrBy(ctx, key, "opened", 1)
	stored := p.HGetAll(ctx, key)
	if _, err := p.Exec(ctx); err != nil {
		return 0, fmt.Errorf("read format: %w", err)
	}
	s.node = uint16(opened.Val() << 1) //nolint:gosec // comes round after 32,768
	version, err := strconv.Atoi(stored.Val()["version"])
	if err != nil {
		return 0, fmt.Errorf("format version: %w", errCorrupt)
	}
	if version > formatVersion {
		return 0, fmt.Errorf("%w: its format is version %d and this kith reads up to %d: start the newer kith that wrote it, or give this one another store.redis.prefix", errSetting, version, formatVersion)
	}
	shards, err = strconv.Atoi(stored.Val()["shards"])
	if err != nil || shards < 1 || shards > maxShards {
		return 0, fmt.Errorf("number of shards: %w", errCorrupt)
	}
	return shards, nil
}

// catchUp brings the clock ahead of every id that was given.
func (s *Store) catchUp(ctx context.Context) error {
	p := s.client.Pipeline()
	clocks := make([]*redis.StringCmd, len(s.keys.prefixes))
	for i := range clocks {
		clocks[i] = p.Get(ctx, s.keys.clock(i))
	}
	if _, err := p.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return fmt.Errorf("read clocks: %w", err)
	}
	for _, cmd := range clocks {
		at, err := cmd.Bytes()
		switch {
		case errors.Is(err, redis.Nil):
		case err != nil:
			return fmt.Errorf("read clock: %w", err)
		case len(at) != 8:
			return fmt.Errorf("clock: %w", errCorrupt)
		default:
			s.clock.observe(binary.BigEndian.Uint64(at))
		}
	}
	return nil
}

// Ping implements broker.Store: it writes to every shard. When such a write is durable is for Redis's settings to say.
func (s *Store) Ping(ctx context.Context) error {
	ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	p := s.client.Pipeline()
	for i := range s.keys.prefixes {
		p.Do(ctx, "SET", s.keys.ping(i), "", "EX", 60)
	}
	if _, err := p.Exec(ctx); err != nil {
		return fmt.Errorf("ping store: %w", s.explain(err))
	}
	return s.barrier(ctx)
}

// Close implements broker.Store.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.sweeping.stop()
		s.queue.close()
		<-s.finished
		s.closed.Store(true)
		if err := s.client.Close(); err != nil {
			s.closeErr = fmt.Errorf("close store: %w", err)
		}
	})
	return s.closeErr
}
