package bench

import (
	"context"
	"fmt"
	"time"
)

// Offline is receivers that come once, so that they are known, and go; then messages are stored for them, and then all come back for them.
func Offline(ctx context.Context, o Options) (*Result, error) {
	o.QoS, o.Rate = 1, 0
	r, ctx := newRun(ctx, o)
	out := r.newResult("offline", o.Receivers)
	err := r.offline(ctx, out)
	r.finish(out)
	return out, ended(err, out)
}

func (r *run) offline(ctx context.Context, out *Result) error {
	o := &r.o
	crowd := func() (conns []*conn) {
		for i := range o.Receivers {
			conns = append(conns, r.newConn(i, o.Target.peer("o", i), 4*crowdBuffer))
		}
		return conns
	}
	known := crowd()
	err := r.openAll(ctx, known)
	if err == nil {
		r.settle(ctx) // what a run before left behind
	}
	closeAll(known)
	if err != nil {
		return err
	}
	out.Connect = r.connect.percentiles()
	r.connect = newLatencies()

	back := crowd()
	if err := r.store(ctx, back, out); err != nil {
		return err
	}
	return r.drain(ctx, back, out)
}

// store publishes o.Each messages to each receiver, by as many senders as may watch them all.
func (r *run) store(ctx context.Context, receivers []*conn, out *Result) error {
	o := &r.o
	var conns []*conn
	senders := max(10, (len(receivers)+maxWatch-1)/maxWatch)
	for i := range min(senders, len(receivers)) {
		c := r.newConn(i, o.Target.peer("s", i), trafficBuffer)
		s := newSender(c)
		for k := i; k < len(receivers); k += senders {
			to := receivers[k]
			c.watch = append(c.watch, to.peer)
			s.publishTo(fmt.Sprintf("%s/peer/%s/%s", o.Target.App, to.peer, c.peer), to)
		}
		s.limit = o.Each * len(s.streams)
		conns = append(conns, c)
	}
	err := r.openAll(ctx, conns)
	if err == nil {
		r.line.phase("storing")
		start := clock()
		r.send(conns, start)
		end := r.stored(ctx, start)
		out.Stored = perSecond(r.acked.Load(), end-start)
		err = r.err(ctx)
	}
	r.sending.Store(false)
	closeAll(conns)
	return err
}

// stored waits until all is acknowledged, or the store has said nothing for o.Drain, and returns when the last answer was seen.
func (r *run) stored(ctx context.Context, start int64) int64 {
	want := int64(r.o.Receivers * r.o.Each)
	last, changed := int64(0), start
	for tick := time.NewTicker(time.Millisecond); ; <-tick.C {
		now := clock()
		if n := r.acked.Load(); n != last {
			last, changed = n, now
		}
		if last >= want || ctx.Err() != nil || now-changed > int64(r.o.Drain) {
			tick.Stop()
			return changed
		}
	}
}

func (r *run) drain(ctx context.Context, receivers []*conn, out *Result) error {
	start := clock()
	err := r.openAll(ctx, receivers)
	if err == nil {
		r.settle(ctx)
		err = r.err(ctx)
	}
	closeAll(receivers)
	end := start
	for _, c := range receivers {
		end = max(end, c.lastNew)
		if c.fresh == int64(r.o.Each) {
			r.catchUp.add(c.number, c.lastNew-c.dialed)
		}
	}
	out.Drained = perSecond(r.delivered.Load(), end-start)
	out.CatchUp = r.catchUp.percentiles()
	out.Seconds = rounded(time.Duration(end - start).Seconds())
	r.latency = newLatencies() // how long they waited says nothing
	r.messages(out)
	return err
}
