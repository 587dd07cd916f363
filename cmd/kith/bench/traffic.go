package bench

import (
	"context"
	"fmt"
	"time"

	"kith/broker"
)

// Direct is pairs of peers: one of each sends to the other, as fast as its window allows or at a rate.
func Direct(ctx context.Context, o Options) (*Result, error) {
	r, ctx := newRun(ctx, o)
	r.onDelivery = o.QoS == 0
	var conns []*conn
	for i := range o.Clients / 2 {
		from := r.newConn(2*i, o.Target.peer("s", i), trafficBuffer)
		to := r.newConn(2*i+1, o.Target.peer("r", i), trafficBuffer)
		from.watch = []broker.PeerID{to.peer}
		newSender(from).publishTo(fmt.Sprintf("%s/peer/%s/%s", o.Target.App, to.peer, from.peer), to)
		conns = append(conns, from, to)
	}
	out := r.newResult("direct", len(conns))
	err := r.traffic(ctx, conns, out)
	r.finish(out)
	return out, ended(err, out)
}

// Fanout is groups whose publishers each keep a window of messages on their way to all other members. A message leaves the
// window when every one of them has it: else the publishers would only fill the members' queues.
func Fanout(ctx context.Context, o Options) (*Result, error) {
	r, ctx := newRun(ctx, o)
	r.onDelivery = true
	out := r.newResult("fanout", o.Groups*(o.Members+o.Publishers))
	out.Groups, out.Members = o.Groups, o.Members
	err := r.fanout(ctx, out)
	r.finish(out)
	return out, ended(err, out)
}

func (r *run) fanout(ctx context.Context, out *Result) (err error) {
	o := &r.o
	g, err := r.organize(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if end := g.end(ctx); err == nil {
			err = end
		}
	}()
	r.line.phase("making groups")
	var conns []*conn
	for range o.Groups {
		all := make([]*conn, o.Members+o.Publishers)
		peers := make([]broker.PeerID, len(all))
		for i := range all {
			all[i] = r.newConn(len(conns)+i, o.Target.peer("m", len(conns)+i), trafficBuffer/4)
			peers[i] = all[i].peer
		}
		// Nobody is connected yet: else everyone would be told of everyone.
		group, err := g.create(ctx, peers)
		if err != nil {
			return fmt.Errorf("make a group of %d: %w", len(peers), err)
		}
		for i := range o.Publishers {
			others := append(append([]*conn{}, all[:i]...), all[i+1:]...)
			newSender(all[i]).publishTo(fmt.Sprintf("%s/group/%s/%s", o.Target.App, group, all[i].peer), others...)
		}
		conns = append(conns, all...)
	}
	return r.traffic(ctx, conns, out)
}

// traffic connects, lets the senders go for warm-up and duration, waits for the rest, and tells.
func (r *run) traffic(ctx context.Context, conns []*conn, out *Result) error {
	err := r.openAll(ctx, conns)
	if err == nil {
		out.Connect = r.connect.percentiles()
		r.flow(ctx, conns, out)
		if !r.settle(ctx) {
			out.Notes = append(out.Notes, fmt.Sprintf("not everything was answered and delivered when nothing had come for %v, or after %v", r.o.Drain, drainTimeout))
		}
		err = r.err(ctx)
	}
	closeAll(conns)
	r.messages(out)
	return err
}

// flow sends and measures.
func (r *run) flow(ctx context.Context, conns []*conn, out *Result) {
	r.line.phase("warming up")
	start := clock()
	from := start + int64(r.o.Warmup)
	to := from + int64(r.o.Duration)
	r.from.Store(from)
	r.to.Store(to)
	senders := r.send(conns, start)
	paced := make(chan struct{})
	go func() {
		defer close(paced)
		if r.paced {
			r.pace(ctx, senders, start, to)
		}
	}()
	wait(ctx, from)
	r.line.phase("measuring")
	u, cpu, acked, delivered, at := lookAt(r.o.PID), ownCPU(), r.acked.Load(), r.delivered.Load(), clock()
	wait(ctx, to)
	acked, delivered, at = r.acked.Load()-acked, r.delivered.Load()-delivered, clock()-at
	out.GeneratorCPU = percent(ownCPU()-cpu, at)
	r.sending.Store(false)
	<-paced
	out.server(u)
	out.Seconds = rounded(time.Duration(at).Seconds())
	out.Acks, out.Deliveries = perSecond(acked, at), perSecond(delivered, at)
}

// send lets the senders among conns go.
func (r *run) send(conns []*conn, now int64) (senders []*sender) {
	r.sending.Store(true)
	for _, c := range conns {
		if c.tx == nil {
			continue
		}
		senders = append(senders, c.tx)
		c.mu.Lock()
		c.tx.fill(now)
		_ = c.flush() // its goroutine sees it
		c.mu.Unlock()
	}
	return senders
}

// pace offers messages at the rate, to one sender after the other, until the clock shows end.
func (r *run) pace(ctx context.Context, senders []*sender, start, end int64) {
	period := 1e9 / r.o.Rate
	for i := 0; ctx.Err() == nil; i++ {
		due := start + int64(float64(i)*period)
		if due >= end {
			return
		}
		if left := due - clock(); left > 0 {
			pause(time.Duration(left))
		}
		s := senders[i%len(senders)]
		s.c.mu.Lock()
		s.offer(due)
		_ = s.c.flush() // its goroutine sees it
		s.c.mu.Unlock()
	}
}
