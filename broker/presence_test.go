package broker_test

import (
	"testing"
	"time"

	"kith/broker"
)

func TestPresenceOfAPeerNeverSeenHasATime(t *testing.T) {
	w := newWorld(t)
	before := w.now().UnixMilli()
	alice := w.open("alice", watching("bob"))
	if first := alice.await(1, isTopic("demo/presence/bob"))[0]; string(first.Payload) != "offline" || first.TS < before {
		t.Errorf("%q at %d, want offline at %d or later", first.Payload, first.TS, before)
	}
}

func TestPresenceThatIsWatchedAlreadyNeedsNoSignatureWhateverComesWithIt(t *testing.T) {
	w := newWorld(t, func(c *broker.AppConfig) { c.Signature.Required = true })
	now := time.Now().Unix()
	alice := w.open("alice", password(map[string]any{
		"timestamp": now, "nonce": "n", "watch": []string{"bob"},
		"signature": broker.SignOpen("your-master-key", "demo", "alice", []broker.PeerID{"bob"}, now, "n", false),
	}))
	errs, _ := alice.s.Subscribe(t.Context(), []broker.Subscription{{Filter: "demo/presence/bob", QoS: 1}, {Filter: "demo/presence/carol", QoS: 1}}, nil)
	if errs[0] != nil {
		t.Errorf("watched already: %v", errs[0])
	}
	if errs[1] == nil || errs[1].Code != broker.SignatureFailed {
		t.Errorf("not watched: %v", errs[1])
	}
}
