package hooks

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kith/broker"
)

func TestGroupMessageIsEncodedOnceForEachVersionQoSAndFormat(t *testing.T) {
	for _, v5 := range []bool{false, true} {
		for qos := range byte(3) {
			for _, wrapped := range []bool{false, true} {
				e := &encoder{v5: v5, app: "demo", now: time.Now}
				m := &broker.Message{ID: testID, Group: "room", From: "alice", Payload: []byte("hello")}
				for tag := uint16(1); tag < 4; tag++ {
					o := broker.Out{Kind: broker.OutMessage, Message: m, QoS: qos, Wrapped: wrapped}
					if wrapped {
						o.Payload = []byte(`{"wrapped":true}`)
					}
					if qos > 0 {
						o.Tag = tag
					}
					shared, own := &scratch{}, &scratch{}
					e.out(shared, &o)
					e.message(own, &o)
					if diff := cmp.Diff(own.buf, shared.buf); diff != "" {
						t.Errorf("v5 %t qos %d wrapped %t tag %d (-own +shared):\n%s", v5, qos, wrapped, tag, diff)
					}
				}
			}
		}
	}
}
