package broker_test

import (
	"testing"
	"time"

	"kith/broker"
)

// waiting is how many messages the session event said to wait.
func (c *client) waiting() int {
	c.t.Helper()
	var e struct{ Waiting int }
	decode(c.t, c.await(1, isTopic("demo/event/"+string(c.s.Peer())+"/session"))[0].Payload, &e)
	return e.Waiting
}

func TestAsManyMessagesComeAsWereSaidToWait(t *testing.T) {
	for name, hows := range map[string][]how{"resumed": {resuming}, "opened": nil} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.open("alice/tablet").leave(broker.EndDisconnect)
			bob := w.open("bob", watching("alice"))
			phone := w.openSilent("alice/phone", watching("bob"))
			bob.sent("demo/peer/alice/bob", "unacknowledged")
			phone.messages(1)
			phone.sent("demo/peer/bob/alice", "its own")
			phone.leave(broker.EndLost)
			bob.sent("demo/peer/alice/bob", "expires", func(p *broker.Publish) { p.Props.Expires = w.now().Add(time.Second).UnixMilli() })
			bob.sent("demo/peer/alice/bob", "waits")
			w.pass(2 * time.Second)
			status, _, err := w.b.Peer(t.Context(), "demo", "alice")
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range status.Sessions {
				if s.Device == "phone" {
					want(t, "waiting for operators", s.Waiting, 2)
				}
			}
			phone = w.open("alice/phone", hows...)
			want(t, "waiting", phone.waiting(), 2)
			want(t, "messages", phone.messages(2), []string{"unacknowledged", "waits"})
		})
	}
}
