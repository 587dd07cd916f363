package hooks

import (
	"slices"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// after gives a will a delay in seconds.
func after(seconds uint32) tweak {
	return func(pk *packets.Packet) { pk.Connect.WillProperties.WillDelayInterval = seconds }
}

func retainedWill(pk *packets.Packet) { pk.Connect.WillRetain = true }

func reason(code byte) tweak { return func(pk *packets.Packet) { pk.ReasonCode = code } }

// [MQTT-3.1.2-7] [MQTT-3.1.2-8] [MQTT-3.1.2-10] [MQTT-3.1.2-12] [MQTT-3.14.4-3] [MQTT3-3.1.2-8] [MQTT3-3.1.2-10] [MQTT3-3.1.2-12] [MQTT3-3.14.4-3]
func TestWillIsPublishedWithoutDisconnect(t *testing.T) {
	inVersions(t, func(t *testing.T, ts *testServer, version byte) {
		watch := ts.client(t, version, "watch")
		watch.sub("w", 2)
		other := ts.client(t, version, "other")
		for qos := range byte(3) {
			ts.client(t, version, "alice", withWill("w", "lost", qos)).drop()
			if pk := watch.takes("w", "lost"); pk.FixedHeader.Qos != qos {
				t.Errorf("will of qos %d comes at %d", qos, pk.FixedHeader.Qos)
			}
		}
		ts.client(t, version, "alice", withWill("w", "left", 1)).leave()
		ts.client(t, version, "alice").drop() // without one
		bad := ts.client(t, version, "alice", withWill("w", "broke the protocol", 1))
		bad.raw(0x00, 0x00)
		watch.takes("w", "broke the protocol")
		first := ts.client(t, version, "alice", withWill("w", "taken over", 1))
		ts.client(t, version, "alice")
		watch.takes("w", "taken over")
		first.drop()
		watch.hearsNothing(other)
	})
}

// [MQTT-3.1.2-8] [MQTT-3.1.2-10]
func TestDisconnectWithWill(t *testing.T) {
	ts := startNode(t)
	watch := ts.client(t, 5, "watch")
	watch.sub("w", 1)
	ts.client(t, 5, "alice", withWill("w", "wanted", 1)).leave(reason(0x04))
	watch.takes("w", "wanted")
	ts.client(t, 5, "alice", withWill("w", "failed", 1)).leave(reason(0x80))
	watch.takes("w", "failed")
	// Its delay holds also then: the session goes on, and the return is in time.
	ts.client(t, 5, "alice", keeping, withWill("w", "delayed", 1, after(3600))).leave(reason(0x04))
	ts.present(t, 5, "alice", true, resuming)
	watch.hearsNothing(ts.client(t, 5, "other"))
}

// [MQTT-3.1.2-14] [MQTT-3.1.2-15] [MQTT3-3.1.2-16] [MQTT3-3.1.2-17]
func TestWillRetain(t *testing.T) {
	inVersions(t, func(t *testing.T, ts *testServer, version byte) {
		watch := ts.client(t, version, "watch")
		watch.sub("w/+", 1)
		ts.client(t, version, "alice", withWill("w/kept", "kept", 1, retainedWill)).drop()
		ts.client(t, version, "bob", withWill("w/gone", "gone", 1)).drop()
		for range 2 {
			if pk := watch.expect(packets.Publish); pk.FixedHeader.Retain {
				t.Error("an established subscription gets RETAIN")
			} else {
				watch.complete(pk)
			}
		}
		late := ts.client(t, version, "late")
		late.sub("w/+", 1)
		if pk := late.takes("w/kept", "kept"); !pk.FixedHeader.Retain {
			t.Error("not marked as retained")
		}
		late.hearsNothing(watch)
	})
}

// [MQTT-3.1.2-8] [MQTT-3.1.3-9]
func TestWillDelay(t *testing.T) {
	ts := startNode(t)
	watch := ts.client(t, 5, "watch")
	watch.sub("w", 1)
	other := ts.client(t, 5, "other")
	// A return in time: no will.
	ts.client(t, 5, "alice", keeping, withWill("w", "in time", 1, after(3600))).drop()
	ts.present(t, 5, "alice", true, resuming).leave()
	watch.hearsNothing(other)
	ts.client(t, 5, "heidi", keeping, withWill("w", "in time, and gone again", 1, after(1))).drop()
	ts.present(t, 5, "heidi", true, resuming).leave()
	ts.client(t, 5, "ivan", keeping, withWill("w", "in time, and lost again", 1, after(1))).drop()
	ts.present(t, 5, "ivan", true, resuming, withWill("w", "", 1, after(3600))).drop()
	// The delay is over, or the session, whichever is first.
	ts.client(t, 5, "bob", keeping, withWill("w", "after a second", 1, after(1))).drop()
	watch.takes("w", "after a second")
	ts.client(t, 5, "carol", lasting(1), withWill("w", "with the session", 1, after(3600))).drop()
	watch.takes("w", "with the session")
	ts.client(t, 5, "dave", withWill("w", "without a session", 1, after(3600))).drop()
	watch.takes("w", "without a session")
	// Clean start ends the session: by a take-over, and by a return.
	ts.client(t, 5, "erin", keeping, withWill("w", "ended by a take-over", 1, after(3600)))
	ts.present(t, 5, "erin", false, keeping)
	watch.takes("w", "ended by a take-over")
	ts.client(t, 5, "frank", keeping, withWill("w", "ended by a return", 1, after(3600))).drop()
	ts.present(t, 5, "frank", false, keeping)
	watch.takes("w", "ended by a return")
	// A take-over that goes on with the session is a return in time.
	ts.client(t, 5, "grace", keeping, withWill("w", "taken over", 1, after(3600)))
	ts.present(t, 5, "grace", true, resuming)
	watch.hearsNothing(other)
}

// [MQTT-3.1.3-10]
func TestWillProperties(t *testing.T) {
	ts := startNode(t)
	watch := ts.client(t, 5, "watch")
	watch.sub("w", 1)
	users := []packets.UserProperty{{Key: "b", Val: "1"}, {Key: "a", Val: "2"}, {Key: "b", Val: "3"}}
	ts.client(t, 5, "alice", withWill("w", "x", 1, func(pk *packets.Packet) {
		p := &pk.Connect.WillProperties
		p.User, p.ContentType, p.ResponseTopic, p.CorrelationData = users, "text/plain", "demo/topic/r", []byte{0, 1}
		p.PayloadFormat, p.PayloadFormatFlag, p.MessageExpiryInterval = 1, true, 60
	})).drop()
	p := watch.takes("w", "x").Properties
	if !slices.Equal(p.User, users) || p.ContentType != "text/plain" || p.ResponseTopic != "demo/topic/r" || string(p.CorrelationData) != "\x00\x01" ||
		p.PayloadFormat != 1 || p.MessageExpiryInterval == 0 || p.MessageExpiryInterval > 60 {
		t.Errorf("%+v", p)
	}
}
