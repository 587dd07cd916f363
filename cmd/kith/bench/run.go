package bench

import (
	"context"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Options are what a run does. Each scenario uses its part.
type Options struct {
	Target      Target
	Clients     int // direct: half of them send; connect and idle: connections
	Groups      int // fanout
	Members     int // fanout: of each group, that receive
	Publishers  int // fanout: of each group, that send
	Receivers   int // offline
	Each        int // offline: messages for each receiver
	QoS         byte
	Size        int     // bytes of a payload, at least MinSize
	Window      int     // messages that a sender has open at once
	Rate        float64 // messages a second of all senders together; 0: as many as the window allows
	Warmup      time.Duration
	Duration    time.Duration // that is measured
	Drain       time.Duration // of silence after which what has not come is lost
	Ping        time.Duration // idle: between two pings of a connection
	Concurrency int           // connections that open at once
	PID         int           // of the server, when it is on this machine, for its memory and CPU; 0: not told
	REST        string        // base URL, such as http://127.0.0.1:8080, to delete groups by; empty: they are left empty
	Progress    io.Writer     // gets the live line; nil: nobody looks
}

// Connections is how many connections a run of any scenario has open at once, at most.
func (o *Options) Connections() int {
	return max(o.Clients, o.Groups*(o.Members+o.Publishers)+1, o.Receivers)
}

// MinSize is the shortest payload: what a message must carry to be checked.
const MinSize = headSize

// MaxWindow bounds Options.Window: MQTT has 65,535 packet identifiers.
const MaxWindow = 60_000

// Bounds in time.
const (
	dialTimeout  = 20 * time.Second // to CONNACK
	writeTimeout = 20 * time.Second
	closeTimeout = 3 * time.Second
	drainTimeout = time.Minute            // after the end, however much still arrives
	lateTime     = 200 * time.Millisecond // watched for duplicates when all is there
	never        = int64(1) << 62
)

var clockStart = time.Now()

// clock is the monotonic time of all measurements, in nanoseconds.
func clock() int64 { return int64(time.Since(clockStart)) }

// counts are what happened so far.
type counts struct {
	opened, sent, acked, refused, due, delivered, duplicated, disordered, redelivered, missed, pings, disconnected atomic.Int64
}

// run is one measurement.
type run struct {
	counts
	o          Options
	id         uint32
	cancel     context.CancelCauseFunc
	lasting    bool // goes on when a connection is lost
	paced      bool
	onDelivery bool // a window closes when all receivers have the message, not at the acknowledgement
	sending    atomic.Bool
	from, to   atomic.Int64 // times of messages due between them are taken
	streams    []*stream    // made before the traffic begins

	connect, ack, latency, ping, catchUp *latencies
	cpu                                  float64 // of this process, in seconds, at the start
	began                                int64

	failure struct {
		sync.Mutex
		err error
	}
	line progress
}

func newRun(ctx context.Context, o Options) (*run, context.Context) {
	ctx, cancel := context.WithCancelCause(ctx)
	r := &run{
		o: o, id: rand.Uint32(), cancel: cancel, paced: o.Rate > 0, //nolint:gosec // tells runs apart, no secret
		connect: newLatencies(), ack: newLatencies(), latency: newLatencies(), ping: newLatencies(), catchUp: newLatencies(),
		cpu: ownCPU(), began: clock(),
	}
	r.to.Store(never)
	r.line.start(r, o.Progress)
	return r, ctx
}

// fail notes the first thing that went wrong, and ends the run.
func (r *run) fail(err error) {
	r.failure.Lock()
	if r.failure.err == nil {
		r.failure.err = err
	}
	r.failure.Unlock()
	r.cancel(err)
}

// err is why the run did not go to its end, or nil.
func (r *run) err(ctx context.Context) error {
	r.failure.Lock()
	defer r.failure.Unlock()
	if r.failure.err != nil {
		return r.failure.err
	}
	return context.Cause(ctx)
}

// openAll opens connections, o.Concurrency at a time. It stops at the first that fails.
func (r *run) openAll(ctx context.Context, conns []*conn) error {
	r.line.phase("connecting")
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(max(r.o.Concurrency, 1), len(conns)) {
		workers.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(conns) {
					return
				}
				if err := conns[i].open(ctx); err != nil {
					r.fail(err)
					return
				}
			}
		})
	}
	workers.Wait()
	return r.err(ctx)
}

// closeAll says DISCONNECT on all connections that are open and waits for their goroutines.
func closeAll(conns []*conn) {
	for _, c := range conns {
		c.leave()
	}
	for _, c := range conns {
		if c.done != nil {
			<-c.done
		}
	}
}

// wait waits until the clock shows at, or ctx ends.
func wait(ctx context.Context, at int64) {
	t := time.NewTimer(time.Duration(at - clock()))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// settle waits until all is there that is due, or nothing has come for o.Drain. It reports whether all is there.
func (r *run) settle(ctx context.Context) bool {
	r.line.phase("waiting for the rest")
	began := clock()
	changed, whole := began, int64(0)
	var last [4]int64
	for tick := time.NewTicker(10 * time.Millisecond); ; {
		now := clock()
		state := [4]int64{r.acked.Load(), r.delivered.Load(), r.duplicated.Load(), r.due.Load()}
		if state != last {
			last, changed, whole = state, now, 0
		}
		complete := r.sent.Load() == r.answered() && r.delivered.Load() >= r.due.Load()
		switch {
		case complete && whole == 0:
			whole = now
		case complete && now-whole >= int64(lateTime):
			tick.Stop()
			return true
		case ctx.Err() != nil, now-changed >= int64(r.o.Drain), now-began >= int64(drainTimeout):
			tick.Stop()
			return complete
		}
		<-tick.C
	}
}

// answered is how many messages of those sent await no acknowledgement.
func (r *run) answered() int64 {
	if r.o.QoS == 0 {
		return r.sent.Load()
	}
	return r.acked.Load() + r.refused.Load()
}
