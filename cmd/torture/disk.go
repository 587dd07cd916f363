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
	pause(ctx, d)
	return fmt.Sprintf("the disk of %s was full for %v", n.Name, rounded(d)), free()
}

// diskFails lets every write fail. A node whose disk fails ends, and starts again.
func diskFails(ctx context.Context, s *scene) (string, error) {
	n := s.node()
	before, pid := n.Ends(), n.PID()
	if err := n.FailWrites(); err != nil {
		return skipped(err)
	}
	for began := time.Now(); n.Ends() == before && pid != 0; pause(ctx, 20*time.Millisecond) {
		if ctx.Err() != nil || time.Since(began) > failWithin {
			return "", fmt.Errorf("%s goes on for %v without writing", n.Name, failWithin)
		}
	}
	return "writes of " + n.Name + " failed until it ended", nil
}

// failWithin is how long a node may run that cannot write: it learns of it with the next message.
const failWithin = 20 * time.Second

// skipped tells that a fault cannot be made on this machine.
func skipped(err error) (string, error) {
	if errors.Is(err, world.ErrNoDisk) {
		return "left out: " + err.Error(), nil
	}
	return "", err
}
