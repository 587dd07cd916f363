package main

import (
	"context"
	"fmt"
	"time"
)

func redisKill(ctx context.Context, s *scene) (string, error) {
	d := s.lasts(100*time.Millisecond, 2*lease)
	return fmt.Sprintf("SIGKILL of Redis, started again after %v", rounded(d)), s.KillRedis(ctx, d)
}

// redisStop lets Redis stand still, shorter and longer than a call may take.
func redisStop(ctx context.Context, s *scene) (string, error) {
	d := s.lasts(100*time.Millisecond, 3*lease)
	s.StopRedis(ctx, d)
	return fmt.Sprintf("SIGSTOP of Redis, SIGCONT after %v", rounded(d)), nil
}

func redisFailover(ctx context.Context, s *scene) (string, error) {
	d, err := s.FailOver(ctx)
	return fmt.Sprintf("SIGKILL of the master, another after %v", rounded(d)), err
}
