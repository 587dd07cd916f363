package main

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"kith/cmd/torture/world"
)

// nodeKill crashes a node and starts it again.
func nodeKill(ctx context.Context, s *scene) (string, error) {
	n, d := s.node(), s.lasts(100*time.Millisecond, 2*time.Second)
	n.Kill()
	defer n.Revive()
	world.Pause(ctx, d)
	return fmt.Sprintf("SIGKILL of %s, started again after %v", n.Name, rounded(d)), nil
}

// nodeStop lets a node stand still past its lease: the others declare it dead, and it must know when it goes on.
func nodeStop(ctx context.Context, s *scene) (string, error) {
	return s.stopNode(ctx, 2*lease, 3*lease)
}

// nodePause lets a node stand still within its lease.
func nodePause(ctx context.Context, s *scene) (string, error) {
	return s.stopNode(ctx, lease/10, lease/2)
}

// clockJump sets a node's clock wrong, ahead or back, by seconds as often as by hours, and right again after a while. It stays within
// signature.window: what clients sign goes on to hold.
func clockJump(ctx context.Context, s *scene) (string, error) {
	n, d := s.node(), s.lasts(time.Second, 8*time.Second)
	by := s.lasts(time.Second, 2*time.Hour>>s.r.IntN(12))
	if s.r.IntN(2) == 0 {
		by = -by
	}
	if err := n.SetClock(by); err != nil {
		return "", err
	}
	world.Pause(ctx, d)
	return fmt.Sprintf("the clock of %s was wrong by %v for %v", n.Name, rounded(by), rounded(d)), n.SetClock(0)
}

func (s *scene) stopNode(ctx context.Context, low, high time.Duration) (string, error) {
	n, d := s.node(), s.lasts(low, high)
	n.Signal(syscall.SIGSTOP)
	world.Pause(ctx, d)
	n.Signal(syscall.SIGCONT)
	return fmt.Sprintf("SIGSTOP of %s, SIGCONT after %v", n.Name, rounded(d)), nil
}
