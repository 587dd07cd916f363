package bench

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// receiver is a connection that gets what a test hands it, of one stream with the numbers 0 to due-1 acknowledged.
func receiver(due uint64) (*conn, *stream) {
	r, _ := newRun(context.Background(), Options{Size: MinSize, Window: 4, QoS: 1, Target: Target{Version: 5}})
	from, to := r.newConn(0, "s", 0), r.newConn(1, "r", 0)
	newSender(from).publishTo("demo/peer/r/s", to)
	st := r.streams[0]
	for n := range due {
		st.due.add(n)
	}
	return to, st
}

func TestWhatIsLostDuplicatedAndDisorderedIsCounted(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name                         string
		arrive                       []uint64
		lost, duplicated, disordered int64
	}{
		{"all in order", []uint64{0, 1, 2, 3, 4}, 0, 0, 0},
		{"the last is lost", []uint64{0, 1, 2, 3}, 1, 0, 0},
		{"one between is lost", []uint64{0, 1, 3, 4}, 1, 0, 0},
		{"twice", []uint64{0, 1, 2, 2, 3, 4, 0}, 0, 2, 0},
		{"an older after a newer", []uint64{0, 2, 1, 3, 4}, 0, 0, 1},
		{"nothing", nil, 5, 0, 0},
		{"not acknowledged, and there", []uint64{0, 1, 2, 3, 4, 5}, 0, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, st := receiver(5)
			for _, n := range tt.arrive {
				payload := make([]byte, MinSize)
				(&head{run: c.run.id, stream: st.id, n: n}).put(payload)
				c.arrived(&arrival{payload: payload}, clock())
			}
			out := &Result{}
			c.run.messages(out)
			v := out.Verdict
			if v.Due != 5 || v.Lost != tt.lost || v.Duplicated != tt.duplicated || v.OutOfOrder != tt.disordered {
				t.Errorf("%+v", v)
			}
			if bad := tt.lost+tt.duplicated+tt.disordered > 0; bad != (out.Err() != nil) {
				t.Errorf("error %v", out.Err())
			}
		})
	}
}

func TestAMessageOfARunBeforeIsNotCounted(t *testing.T) {
	t.Parallel()
	c, st := receiver(1)
	payload := make([]byte, MinSize)
	(&head{run: c.run.id + 1, stream: st.id}).put(payload)
	c.arrived(&arrival{topic: []byte("demo/peer/r/s"), payload: payload}, clock())
	if c.fresh != 0 {
		t.Error("it was counted")
	}
}

func TestPacketsComeOutAsTheyWentIn(t *testing.T) {
	t.Parallel()
	for _, version := range []byte{4, 5} {
		for qos := range byte(2) {
			packet, tag, at := publishPacket(version, "demo/peer/bob/alice", qos, []byte("hello"))
			first, body, size, err := splitPacket(packet)
			if err != nil || size != len(packet) || string(packet[at:]) != "hello" || (tag < 0) != (qos == 0) {
				t.Fatalf("version %d QoS %d: size %d of %d, tag %d, at %d, %v", version, qos, size, len(packet), tag, at, err)
			}
			got, err := parsePublish(version, first, body)
			want := arrival{topic: []byte("demo/peer/bob/alice"), payload: []byte("hello")}
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(arrival{})); err != nil || diff != "" {
				t.Errorf("version %d QoS %d: %v\n%s", version, qos, err, diff)
			}
		}
	}
}

func FuzzServerPackets(f *testing.F) {
	for _, version := range []byte{4, 5} {
		packet, _, _ := publishPacket(version, "demo/peer/bob/alice", 1, []byte("hello"))
		f.Add(version, packet)
	}
	f.Add(byte(5), []byte{0x40, 10, 0, 1, 0x97, 6, 0x1F, 0, 3, 'f', 'u', 'l'})
	f.Add(byte(5), []byte{0x20, 9, 0, 0x87, 6, 0x26, 0, 1, 'a', 0xFF, 0xFF})
	f.Add(byte(5), []byte{0xE0, 2, 0x8E, 0x80})
	f.Fuzz(func(t *testing.T, version byte, data []byte) {
		first, body, size, err := splitPacket(data)
		if err != nil || size == 0 {
			return
		}
		if size > len(data) || len(body) > size {
			t.Fatalf("a packet of %d bytes with a body of %d in %d", size, len(body), len(data))
		}
		_, _ = parsePublish(version, first, body)
		_, _, _ = parsePuback(version, body)
		_ = reasonString(body)
	})
}
