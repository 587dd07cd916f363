package load

import (
	"context"
	"math/rand/v2"
	"time"
)

// While the load sends, devices come and go without any fault.
const (
	churnEvery = 400 * time.Millisecond // on average, one leaves
	awayFor    = 5 * time.Second        // at most
	departing  = 6                      // each so-manieth device departs for good
)

// churn lets devices leave, some with a word and some without, and return, until ctx ends.
func (l *Load) churn(ctx context.Context) {
	r := rand.New(rand.NewPCG(l.o.Seed, 3)) //nolint:gosec // repeatable, no secret
	devices := l.Devices()
	for ctx.Err() == nil {
		d, politely, away := devices[r.IntN(len(devices))], r.IntN(2) == 0, time.Duration(r.Int64N(int64(awayFor)))
		if l.sending.Load() && !d.departed.Load() && !d.isAway() {
			d.Leave(politely)
			l.running.Go(func() {
				pause(ctx, away)
				if !d.departed.Load() {
					d.Return()
				}
			})
		}
		pause(ctx, time.Duration(r.Int64N(int64(2*churnEvery))))
	}
}

// Depart lets some devices leave until Check: what comes for them must wait. At least one peer is then on no device.
func (l *Load) Depart() {
	for i, d := range l.Devices() {
		if i%departing == 0 {
			d.departed.Store(true)
			d.Leave(i%2 == 0)
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
