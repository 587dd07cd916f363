package main

import (
	"context"
	"fmt"
	"syscall"
	"time"
)

// nodeKill crashes a node and starts it again.
func nodeKill(ctx context.Context, s *scene) (string, error) {
	n, d := s.node(), s.lasts(100*time.Millisecond, 2*time.Second)
	n.Kill()
	defer n.Revive()
	pause(ctx, d)
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

func (s *scene) stopNode(ctx context.Context, low, high time.Duration) (string, error) {
	n, d := s.node(), s.lasts(low, high)
	n.Signal(syscall.SIGSTOP)
	pause(ctx, d)
	n.Signal(syscall.SIGCONT)
	return fmt.Sprintf("SIGSTOP of %s, SIGCONT after %v", n.Name, rounded(d)), nil
}
