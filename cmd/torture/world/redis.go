package world

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"kith/broker/redisstore/redistest"
)

const (
	masterName     = redistest.MasterName // what the Sentinels call the master
	failoverWithin = 30 * time.Second
)

// redis is what the nodes share: a server, or a master with two replicas and three Sentinels.
type redis struct {
	servers   []*redistest.Server
	sentinels *redistest.Sentinels // nil: there is one server
}

// startRedis starts it in dir. Its files have what it accepted as soon as it answers, and the disk within a second: only a crash of
// the machine, which nobody does here, could take it.
func startRedis(dir string, sentinels bool) (r *redis, err error) {
	r = &redis{}
	defer func() {
		if err != nil {
			r.stop()
		}
	}()
	master, err := r.launch(dir)
	if err != nil || !sentinels {
		return r, err
	}
	for range 2 {
		if _, err := r.launch(dir, "--replicaof", "127.0.0.1", master.Port()); err != nil {
			return r, err
		}
	}
	if r.sentinels, err = redistest.LaunchSentinels(dir, master, 3, 2); err != nil {
		return r, err
	}
	return r, r.sentinels.Settle(r.servers[1:]...)
}

func (r *redis) launch(dir string, args ...string) (*redistest.Server, error) {
	folder := filepath.Join(dir, "redis"+strconv.Itoa(len(r.servers)+1))
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	s, err := redistest.Launch(folder, append([]string{"--appendfsync", "everysec"}, args...)...)
	if err != nil {
		return nil, fmt.Errorf("start Redis: %w", err)
	}
	r.servers = append(r.servers, s)
	return s, nil
}

func (r *redis) stop() {
	if r.sentinels != nil {
		r.sentinels.Kill()
	}
	for _, s := range r.servers {
		s.Kill()
	}
}

// KillRedis crashes Redis and starts it again after d.
func (w *World) KillRedis(ctx context.Context, d time.Duration) error {
	s := w.redis.servers[0]
	s.Kill()
	Pause(ctx, d)
	return s.Relaunch()
}

// StopRedis lets Redis stand still for d.
func (w *World) StopRedis(ctx context.Context, d time.Duration) {
	s := w.redis.servers[0]
	s.Signal(syscall.SIGSTOP)
	Pause(ctx, d)
	s.Signal(syscall.SIGCONT)
}

// FailOver crashes the master, waits for another, and starts the old one again as its replica. It tells how long there was none.
func (w *World) FailOver(ctx context.Context) (time.Duration, error) {
	r := w.redis
	port := r.sentinels.Master(ctx)
	i := slices.IndexFunc(r.servers, func(s *redistest.Server) bool { return s.Port() == port })
	if i < 0 {
		return 0, errors.New("the Sentinels do not agree on a master")
	}
	began := time.Now()
	r.servers[i].Kill()
	now := port
	for ; now == port || now == ""; now = r.sentinels.Master(ctx) {
		if ctx.Err() != nil || time.Since(began) > failoverWithin {
			return 0, fmt.Errorf("no other master within %v", failoverWithin)
		}
		Pause(ctx, 50*time.Millisecond)
	}
	took := time.Since(began)
	if err := r.servers[i].Relaunch(); err != nil {
		return took, err
	}
	var replicas []*redistest.Server
	for _, s := range r.servers {
		if s.Port() != now {
			replicas = append(replicas, s)
		}
	}
	return took, r.sentinels.Settle(replicas...)
}
