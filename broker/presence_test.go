package broker_test

import (
	"testing"
)

func TestPresenceOfAPeerNeverSeenHasATime(t *testing.T) {
	w := newWorld(t)
	before := w.now().UnixMilli()
	alice := w.open("alice", watching("bob"))
	if first := alice.await(1, isTopic("demo/presence/bob"))[0]; string(first.Payload) != "offline" || first.TS < before {
		t.Errorf("%q at %d, want offline at %d or later", first.Payload, first.TS, before)
	}
}
