package broker

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"crypto/sha256"
	"crypto/subtle"
)

// Options are what a Broker works with.
type Options struct {
	Store Store
	Node  string // the node's name, for status
	// Bus, when it is set, makes this broker one of several nodes that share the store; Lease is how long a node that is not heard of
	// counts as alive (0: DefaultLease).
	Bus   Bus
	Lease time.Duration
	// DrainPerSecond is how many sessions are moved in a second when this node is drained (0: DefaultDrainPerSecond).
	DrainPerSecond int
	Version        string // of the program, for status
	Apps           []AppConfig
	Logger         *slog.Logger // nil: nothing is logged
	// Late is how long after a later one an entry may still come into a log without numbers: where several nodes write to several
	// shards. Live readers look back that far. 0: never, as in the embedded store.
	Late time.Duration
	Now  func() time.Time // nil: time.Now
}

// Broker holds the sessions of one node and the rules between peers. All methods are safe for concurrent use.
type Broker struct {
	store       Store
	sizer       Sizer // nil where the store does not know how much it holds
	node        string
	version     string
	incarnation string   // of this start, where there is one node: tells its device records from those a crash left
	cluster     *cluster // nil where there is one node
	log         *slog.Logger
	now         func() time.Time
	late        time.Duration
	started     int64    // Unix milliseconds
	ids         *IDClock // of what no store numbers: transient messages
	topics      TopicRouter

	apps     atomic.Pointer[map[AppID]*app]
	appsLock sync.Mutex // held while apps are replaced

	seed    maphash.Seed
	shards  [shardCount]shard
	groups  [shardCount]groupShard
	opening [openingLocks]sync.Mutex // a peer's opens, and a group's changes, are taken one at a time

	dirty    dirtySet
	trimming trimming
	// stagedPool holds batches between uses: a busy session stages one with every read.
	stagedPool sync.Pool
	counters   counters
	stopped    atomic.Bool

	receiptsHeld atomic.Int64 // receipts that the store did not take, and that are tried again
}

// app is a tenant at work; its settings are swapped as a whole.
type app struct {
	id  AppID
	cfg atomic.Pointer[AppConfig]

	sessions atomic.Int64 // connected to this node
	load     atomic.Pointer[appLoad]
	feed     feed // of those who read it live
}

// New returns a broker for the apps. Run must be running while it is used.
func New(o Options) (*Broker, error) {
	if o.Store == nil {
		return nil, errors.New("broker: no store")
	}
	b := &Broker{
		store:       o.Store,
		node:        o.Node,
		version:     o.Version,
		incarnation: fmt.Sprintf("%s#%08x", o.Node, rand.Uint32()), //nolint:gosec // tells starts apart, no secret
		log:         o.Logger,
		now:         o.Now,
		late:        o.Late,
		seed:        maphash.MakeSeed(),
	}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	if b.now == nil {
		b.now = time.Now
	}
	b.sizer, _ = o.Store.(Sizer)
	b.started = b.now().UnixMilli()
	b.ids = NewIDClock(rand.Uint32(), MessageID{}, b.now) //nolint:gosec // tells nodes apart, no secret
	b.stagedPool.New = func() any { return &staged{} }
	b.dirty.wake = make(chan struct{}, 1)
	b.apps.Store(&map[AppID]*app{})
	b.SetApps(o.Apps)
	if o.Bus != nil {
		b.cluster = newCluster(b, o.Bus, o.Lease, o.DrainPerSecond)
	}
	return b, nil
}

// SetTopics sets the router of {app}/topic/; without one those topics are refused. Call it before the first Open.
func (b *Broker) SetTopics(t TopicRouter) { b.topics = t }

// SetApps replaces the apps and their settings. Sessions go on under the new settings; those of an app that
// is no longer there are closed.
func (b *Broker) SetApps(configs []AppConfig) {
	b.appsLock.Lock()
	defer b.appsLock.Unlock()
	old := *b.apps.Load()
	apps := make(map[AppID]*app, len(configs))
	for i := range configs {
		cfg := configs[i]
		a := old[cfg.ID]
		if a == nil {
			a = &app{id: cfg.ID}
		}
		a.cfg.Store(&cfg)
		a.setLoad(&cfg)
		apps[cfg.ID] = a
	}
	b.apps.Store(&apps)
	for id := range old {
		if apps[id] == nil {
			b.closeSessions(CloseKicked, func(s *Session) bool { return s.app.id == id })
		}
	}
}

func (b *Broker) app(id AppID) (*app, error) {
	if a := (*b.apps.Load())[id]; a != nil {
		return a, nil
	}
	return nil, Errorf(AppNotFound, "this server has no app of that id")
}

// App returns an app's settings. They must not be changed.
func (b *Broker) App(id AppID) (AppConfig, bool) {
	a, err := b.app(id)
	if err != nil {
		return AppConfig{}, false
	}
	return *a.cfg.Load(), true
}

// Apps returns the settings of all apps in the order of their ids.
func (b *Broker) Apps() []AppConfig {
	var list []AppConfig
	for _, a := range *b.apps.Load() {
		list = append(list, *a.cfg.Load())
	}
	slices.SortFunc(list, func(x, y AppConfig) int { return cmpString(x.ID, y.ID) })
	return list
}

// CheckMasterKey reports, in constant time, whether key is the app's current or previous master key.
func (b *Broker) CheckMasterKey(id AppID, key string) bool {
	cfg, known := b.App(id)
	presented := sha256.Sum256([]byte(key))
	current, previous := sha256.Sum256([]byte(cfg.MasterKey)), sha256.Sum256([]byte(cfg.PreviousMasterKey))
	ok := subtle.ConstantTimeCompare(presented[:], current[:])
	if cfg.PreviousMasterKey != "" {
		ok |= subtle.ConstantTimeCompare(presented[:], previous[:])
	}
	return known && cfg.MasterKey != "" && ok == 1
}

// CheckAppKey reports, in constant time, whether key is the app's app key. No key opens an app that has none.
func (b *Broker) CheckAppKey(id AppID, key string) bool {
	cfg, known := b.App(id)
	presented, current := sha256.Sum256([]byte(key)), sha256.Sum256([]byte(cfg.AppKey))
	return subtle.ConstantTimeCompare(presented[:], current[:]) == 1 && known && cfg.AppKey != ""
}

// Run does the broker's background work until ctx ends: it publishes the wills that a crash left, saves how far
// sessions came, and trims history.
func (b *Broker) Run(ctx context.Context) error {
	var work sync.WaitGroup
	work.Go(func() { b.keepHistory(ctx) })
	defer work.Wait()
	if b.cluster != nil {
		left := make(chan struct{})
		go func() {
			b.cluster.run(ctx)
			close(left)
		}()
		b.saveCursors(ctx)
		<-left
		return nil
	}
	left := func(of string) bool { return of != b.incarnation }
	if err := b.publishLeftWills(ctx, left); err != nil {
		b.log.Error("wills of the last run could not be published", "err", err)
	}
	work.Go(func() {
		if err := b.endLeft(ctx, left, b.started); err != nil && ctx.Err() == nil {
			b.log.Warn("sessions of the last run could not be ended; the next start tries again", "err", err)
		}
	})
	b.saveCursors(ctx)
	return nil
}

// self names what holds the connections of now: this start, or in a cluster this incarnation.
func (b *Broker) self() string {
	if b.cluster != nil {
		return string(b.cluster.id())
	}
	return b.incarnation
}

// CloseAll asks every connection to end.
func (b *Broker) CloseAll(why CloseReason) {
	if why == CloseShutdown {
		b.stopped.Store(true)
	}
	b.closeSessions(why, func(*Session) bool { return true })
}

func (b *Broker) closeSessions(why CloseReason, chosen func(*Session) bool) {
	for _, s := range b.allSessions() {
		if chosen(s) {
			s.link.Close(why)
		}
	}
}

// Ready reports whether the store can take a durable write, within ctx. Its error is an *Error when the reason is not the store.
func (b *Broker) Ready(ctx context.Context) error {
	if b.stopped.Load() {
		return Errorf(Internal, "the server is stopping")
	}
	if b.draining() {
		return ErrDraining
	}
	if b.cluster != nil && !b.cluster.leased() {
		return errNotLeased
	}
	return b.store.Ping(ctx)
}

// commit commits batch and waits for it, or for ctx: the batch may then still take effect.
func (b *Broker) commit(ctx context.Context, batch *Batch) (*Batch, error) {
	return commitTo(ctx, b.store, batch)
}

// commitLazily commits without waiting; what is lost with it would only be delivered or asked again.
func (b *Broker) commitLazily(batch *Batch, done func()) {
	batch.Lazy = true
	batch.Done = func(_ *Batch, err error) {
		if err != nil && !errors.Is(err, ErrStoreClosed) {
			b.log.Warn("session state could not be stored", "err", err)
		}
		if done != nil {
			done()
		}
	}
	b.store.Commit(batch)
}

func cmpString[T ~string](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
