package e2e_test

import (
	"net/http"
	"strconv"
	"testing"
)

// deviceTrace is what became of a message on one device.
type deviceTrace struct {
	Device, State      string
	Connected          bool
	Sent, Acknowledged int64
}

// traced waits until the first receiver of a message is in a state, and returns its devices.
func (a *app) traced(t *testing.T, id, state string) (devices []deviceTrace) {
	t.Helper()
	waitUntil(t, "message "+id+" is not "+state, func() bool {
		status, body := a.call(t, http.MethodGet, "/v1/apps/"+a.id+"/messages/"+id+"/trace", "", "Basic "+basicOf(a.id, a.key))
		if status != http.StatusOK {
			t.Fatalf("status %d: %s", status, body)
		}
		var trace struct {
			Items []struct {
				State   string
				Devices []deviceTrace
			}
		}
		mustDecode(t, string(body), &trace)
		if len(trace.Items) == 0 || trace.Items[0].State != state {
			return false
		}
		devices = trace.Items[0].Devices
		return true
	})
	return devices
}

func TestATraceAnswersWhetherSheGotIt(t *testing.T) {
	t.Parallel()
	inBothVersions(t, func(t *testing.T, version int) {
		a := newApp(t)
		away(t, a, "bob/desk", version)
		alice := open(t, a, "alice", opening{password: watching("bob")})
		ack := alice.send("peer/bob/alice", "hi")
		accepted, err := strconv.ParseInt(ack.ts, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if d := a.traced(t, ack.id, "waiting"); len(d) != 1 || d[0].Device != "desk" || d[0].Connected || d[0].Sent != 0 {
			t.Errorf("%+v", d)
		}
		bob := open(t, a, "bob/phone", opening{version: version})
		bob.wants("peer/bob/alice", "hi")
		d := a.traced(t, ack.id, "acknowledged")
		if len(d) != 2 || d[0].State != "waiting" || !d[1].Connected || d[1].Sent < accepted || d[1].Acknowledged < d[1].Sent {
			t.Errorf("%+v after %d", d, accepted)
		}
		bob.close()
		bob.isGone("bob")
		if kept := a.traced(t, ack.id, "acknowledged"); len(kept) != 2 || kept[1].Sent != d[1].Sent || kept[1].Acknowledged != d[1].Acknowledged {
			t.Errorf("%+v was %+v", kept, d)
		}
	})
}
