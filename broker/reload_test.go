package broker_test

import (
	"strings"
	"testing"

	"kith/broker"
)

func TestReloadedLimitsHoldForSessionsThatAreOpen(t *testing.T) {
	w := newWorld(t)
	alice := w.open("alice", watching("bob"))
	cfg := w.cfg
	cfg.MessageBytes = 10
	w.b.SetApps([]broker.AppConfig{cfg})
	if ack := alice.sent("demo/peer/bob/alice", strings.Repeat("x", 11)); ack.Err == nil || ack.Err.Code != broker.MessageTooLong {
		t.Errorf("the 11th byte: %v", ack.Err)
	}
	if ack := alice.sent("demo/peer/bob/alice", strings.Repeat("x", 10)); ack.Err != nil {
		t.Errorf("ten bytes: %v", ack.Err)
	}
}

func TestSessionsOfARemovedAppAreClosed(t *testing.T) {
	w := newWorld(t)
	alice := w.open("alice")
	w.b.SetApps(nil)
	alice.awaitClosed()
	if _, err := w.tryOpen("bob"); broker.AsError(err).Code != broker.AppNotFound {
		t.Errorf("open: %v", err)
	}
}

func TestServerThatStopsTakesNoSessions(t *testing.T) {
	w := newWorld(t)
	w.open("alice")
	w.b.CloseAll(broker.CloseShutdown)
	if _, err := w.tryOpen("bob"); broker.AsError(err) == nil || broker.AsError(err).Code != broker.Internal {
		t.Errorf("open: %v", err)
	}
}
