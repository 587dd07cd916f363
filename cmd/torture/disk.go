package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kith/cmd/torture/world"
)

// diskFull fills the node's disk, and frees it again.
func diskFull(ctx context.Context, s *scene) (string, error) {
	n, d := s.node(), s.lasts(time.Second, 4*time.Second)
	free, err := n.FillDisk()
	if err != nil {
		return skipped(err)
	}
	world.Pause(ctx, d)
	return fmt.Sprintf("the disk of %s was full for %v", n.Name, rounded(d)), free()
}

// diskFails lets every write of a node fail for a while.
func diskFails(ctx context.Context, s *scene) (string, error) {
	n, d := s.node(), s.lasts(time.Second, 4*time.Second)
	if err := n.FailWrites(true); err != nil {
		return skipped(err)
	}
	world.Pause(ctx, d)
	return fmt.Sprintf("writes of %s failed for %v", n.Name, rounded(d)), n.FailWrites(false)
}

// skipped tells that a fault cannot be made on this machine.
func skipped(err error) (string, error) {
	if errors.Is(err, world.ErrNoDisk) {
		return "left out: " + err.Error(), nil
	}
	return "", err
}
