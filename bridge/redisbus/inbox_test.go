package redisbus

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"kith/broker"
)

// transcript writes down what a receiver hears.
type transcript struct{ lines []string }

// Receive implements broker.BusReceiver.
func (tr *transcript) Receive(from broker.NodeID, note []byte) {
	tr.lines = append(tr.lines, fmt.Sprintf("%s: %s", from, note))
}

// Lost implements broker.BusReceiver.
func (tr *transcript) Lost(from broker.NodeID) {
	tr.lines = append(tr.lines, fmt.Sprintf("lost %s", from))
}

func frameOf(from broker.NodeID, stream, sequence uint64, notes ...string) []byte {
	b := appendHeader(nil, from, stream, sequence)
	for _, note := range notes {
		b = appendNote(b, []byte(note))
	}
	return b
}

func TestLossIsToldBeforeWhatFollows(t *testing.T) {
	cut := func(frame []byte) []byte { return frame[:len(frame)-1] }
	for name, test := range map[string]struct {
		frames [][]byte
		want   []string
	}{
		"in order":               {[][]byte{frameOf("a", 7, 1, "x", "", "y"), frameOf("a", 7, 2, "z")}, []string{"a: x", "a: ", "a: y", "a: z"}},
		"two senders":            {[][]byte{frameOf("a", 7, 1, "x"), frameOf("b", 7, 1, "y")}, []string{"a: x", "b: y"}},
		"a gap":                  {[][]byte{frameOf("a", 7, 1, "x"), frameOf("a", 7, 3, "z")}, []string{"a: x", "lost a", "a: z"}},
		"a gap at the beginning": {[][]byte{frameOf("a", 7, 2, "y")}, []string{"lost a", "a: y"}},
		"a new stream":           {[][]byte{frameOf("a", 7, 1, "x"), frameOf("a", 8, 1, "y")}, []string{"a: x", "lost a", "a: y"}},
		"twice":                  {[][]byte{frameOf("a", 7, 1, "x"), frameOf("a", 7, 1, "x")}, []string{"a: x"}},
		"late":                   {[][]byte{frameOf("a", 7, 2, "y"), frameOf("a", 7, 1, "x")}, []string{"lost a", "a: y"}},
		"notes cut off":          {[][]byte{cut(frameOf("a", 7, 1, "x", "yy")), frameOf("a", 7, 2, "z")}, []string{"lost a", "a: z"}},
		"another version":        {[][]byte{append([]byte{frameVersion + 1}, frameOf("a", 7, 1, "x")[1:]...)}, []string{"lost "}},
		"a header cut off":       {[][]byte{cut(frameOf("a", 7, 1))}, []string{"lost "}},
		"no sender":              {[][]byte{frameOf("", 7, 1, "x")}, []string{"lost "}},
		"no sequence number":     {[][]byte{frameOf("a", 7, 0, "x")}, []string{"lost "}},
		"nothing":                {[][]byte{{}}, []string{"lost "}},
	} {
		t.Run(name, func(t *testing.T) {
			var heard transcript
			in := newInbox(&heard, &meter{})
			for _, frame := range test.frames {
				in.take(frame)
			}
			if !slices.Equal(heard.lines, test.want) {
				t.Errorf("heard %q, not %q", heard.lines, test.want)
			}
		})
	}
}

// However many senders there are, a bounded number is remembered, and who was forgotten is told as lost.
func TestRememberedSendersAreBounded(t *testing.T) {
	var heard transcript
	in := newInbox(&heard, &meter{})
	for i := range 3 * maxNodes {
		in.take(frameOf(broker.NodeID(fmt.Sprint(i)), 7, 1, "x"))
	}
	if len(in.senders) > maxNodes {
		t.Errorf("%d are remembered", len(in.senders))
	}
	heard.lines = nil
	in.take(frameOf("0", 7, 2, "y"))
	if want := []string{"lost 0", "0: y"}; !slices.Equal(heard.lines, want) {
		t.Errorf("heard %q, not %q", heard.lines, want)
	}
}

// Whatever a stranger publishes: no panic, every note lies in the frame, and what cannot be read is told.
func FuzzFrame(f *testing.F) {
	f.Add(frameOf("a#1", 7, 1, "x", "", strings.Repeat("y", 300)))
	f.Add(frameOf("a#1", 7, 1)[:12])
	f.Add([]byte{})
	f.Add([]byte{frameVersion, 255})
	f.Add(append(frameOf("a", 7, 1), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01)) // a note of 2^64-1 bytes
	f.Add(append(frameOf("a", 7, 1), 0x80))                                                       // a length without an end
	f.Fuzz(func(t *testing.T, frame []byte) {
		var heard transcript
		newInbox(&heard, &meter{}).take(frame)
		h, notes, err := parseHeader(frame)
		if err != nil {
			if !slices.Equal(heard.lines, []string{"lost "}) {
				t.Errorf("heard %q", heard.lines)
			}
			return
		}
		count, err := countNotes(notes)
		lines := count
		if err != nil || h.sequence != 1 {
			lines++
		}
		if len(heard.lines) != lines {
			t.Errorf("heard %q, not %d notes", heard.lines, count)
		}
	})
}
