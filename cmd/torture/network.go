package main

import (
	"context"
	"fmt"
	"time"

	"kith/cmd/torture/world"
)

// What a slow link does: so many ms more each way, and so many KB a second.
const (
	slowMS = 150
	slowKB = 64
)

func cut(l *world.Link) error     { l.Cut(); return nil }
func slow(l *world.Link) error    { return l.Slow(slowMS, slowKB) }
func swallow(l *world.Link) error { return l.Swallow() }

func clientsCut(ctx context.Context, s *scene) (string, error) {
	n := s.node()
	return s.trouble(ctx, n.Clients, cut, "clients cut off from "+n.Name)
}

func clientsSlow(ctx context.Context, s *scene) (string, error) {
	n := s.node()
	return s.trouble(ctx, n.Clients, slow, fmt.Sprintf("clients of %s at +%d ms and %d KB/s", n.Name, slowMS, slowKB))
}

func clientsSwallow(ctx context.Context, s *scene) (string, error) {
	n := s.node()
	return s.trouble(ctx, n.Clients, swallow, "all between clients and "+n.Name+" swallowed")
}

func redisCut(ctx context.Context, s *scene) (string, error) {
	n := s.node()
	return s.trouble(ctx, n.Redis, cut, n.Name+" cut off from Redis")
}

func redisSlow(ctx context.Context, s *scene) (string, error) {
	n := s.node()
	return s.trouble(ctx, n.Redis, slow, fmt.Sprintf("Redis of %s at +%d ms and %d KB/s", n.Name, slowMS, slowKB))
}

func redisSwallow(ctx context.Context, s *scene) (string, error) {
	n := s.node()
	return s.trouble(ctx, n.Redis, swallow, "all between "+n.Name+" and Redis swallowed")
}

// trouble breaks a link for up to three leases.
func (s *scene) trouble(ctx context.Context, l *world.Link, how func(*world.Link) error, what string) (string, error) {
	d := s.lasts(lease/4, 3*lease)
	if err := how(l); err != nil {
		return "", err
	}
	world.Pause(ctx, d)
	return fmt.Sprintf("%s for %v", what, rounded(d)), l.Heal()
}

func rounded(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
