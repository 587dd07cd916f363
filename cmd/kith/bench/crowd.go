package bench

import (
	"context"
	"time"
)

// Connect opens connections as fast as o.Concurrency at a time allow.
func Connect(ctx context.Context, o Options) (*Result, error) {
	r, ctx := newRun(ctx, o)
	out := r.newResult("connect", o.Clients)
	conns := r.crowd(0)
	u, start := lookAt(o.PID), clock()
	err := r.openAll(ctx, conns)
	took := clock() - start
	out.server(u)
	out.Seconds, out.Connects = rounded(time.Duration(took).Seconds()), perSecond(r.opened.Load(), took)
	out.Connect = r.connect.percentiles()
	closeAll(conns)
	r.finish(out)
	return out, ended(err, out)
}

// Idle holds connections that only ping, for o.Duration.
func Idle(ctx context.Context, o Options) (*Result, error) {
	r, ctx := newRun(ctx, o)
	r.lasting = true
	out := r.newResult("idle", o.Clients)
	conns := r.crowd(2 * o.Ping)
	before := lookAt(o.PID)
	err := r.openAll(ctx, conns)
	out.Connect = r.connect.percentiles()
	if err == nil {
		r.line.phase("settling")
		wait(ctx, clock()+int64(o.Warmup))
		r.line.phase("idle")
		u, start := lookAt(o.PID), clock()
		r.pingAll(ctx, conns, start+int64(o.Duration))
		out.Seconds = rounded(time.Duration(clock() - start).Seconds())
		out.server(u)
		if o.PID != 0 {
			_, rss := processUsage(o.PID)
			out.PerConn = rounded((rss - before.rss) / 1e3 / float64(len(conns)))
		}
		err = r.err(ctx)
	}
	closeAll(conns)
	out.Pings, out.Ping = r.pings.Load(), r.ping.percentiles()
	r.finish(out)
	return out, ended(err, out)
}

func (r *run) crowd(keepAlive time.Duration) (conns []*conn) {
	for i := range r.o.Clients {
		c := r.newConn(i, r.o.Target.peer("c", i), crowdBuffer)
		c.keepAlive = uint16(min(keepAlive/time.Second, 65535)) //nolint:gosec // within
		conns = append(conns, c)
	}
	return conns
}

// pingAll pings one connection after the other, each once in o.Ping, until the clock shows end.
func (r *run) pingAll(ctx context.Context, conns []*conn, end int64) {
	start, step := clock(), float64(r.o.Ping)/float64(len(conns))
	for i := 0; ctx.Err() == nil; i++ {
		at := start + int64(float64(i)*step)
		if at >= end {
			break
		}
		if at > clock() {
			wait(ctx, at)
		}
		c := conns[i%len(conns)]
		c.pingedAt.CompareAndSwap(0, clock())
		if c.write(packetPingreq, 0) == nil {
			r.pings.Add(1)
		}
	}
	wait(ctx, end)
}
