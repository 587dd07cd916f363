package world

import (
	"fmt"
	"os"
	"time"
)

// ClockTag is what kith must be built with so that SetClock reaches it.
const ClockTag = "clockjump"

// clockFile is the variable that tells such a program where its clock is set (cmd/kith/clock_jump.go).
const clockFile = "TORTURE_CLOCK_FILE"

// SetClock sets the node's clock wrong by so much, ahead or back; 0 sets it right. The node sees it within 50 ms.
func (n *Node) SetClock(by time.Duration) error {
	next := n.clock + ".next"
	if err := os.WriteFile(next, []byte(by.String()), 0o600); err != nil {
		return fmt.Errorf("set the clock of %s: %w", n.Name, err)
	}
	return os.Rename(next, n.clock)
}
