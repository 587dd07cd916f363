//go:build clockjump

package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestAJumpMovesTheWallClockAlone(t *testing.T) {
	now := time.Now()
	for _, by := range []time.Duration{0, time.Second, -time.Second, 2*time.Hour + time.Millisecond, -2*time.Hour - time.Millisecond} {
		moved := jumped(now, by)
		if got := moved.UnixNano() - now.UnixNano(); got != int64(by) {
			t.Errorf("the wall clock moved by %v, not %v", time.Duration(got), by)
		}
		if d := moved.Sub(now); d != 0 {
			t.Errorf("a jump of %v looks like %v gone by", by, d)
		}
	}
}

func TestTheClockFollowsItsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clock")
	t.Setenv(clockFile, path)
	now := wallClock(slog.New(slog.DiscardHandler))
	for _, by := range []time.Duration{0, time.Hour, -time.Hour, 0} {
		if err := os.WriteFile(path, []byte(by.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(5 * time.Second); now().Round(0).Sub(time.Now().Round(0).Add(by)).Abs() > time.Minute; {
			if time.Now().After(deadline) {
				t.Fatalf("the clock did not jump by %v", by)
			}
		}
	}
}
