package world

import (
	"os"
	"path/filepath"
	"testing"
)

const (
	engineTrace = "panic: (*withstack.withStack) 0x20e3980f0c00\n\tfatal error: sync: unlock of unlocked mutex\n\n" +
		"goroutine 13 [running]:\npanic({0x186c520?, 0x20e3980f0c00?})\ngithub.com/cockroachdb/pebble/v2.(*DB).rotateWAL(0x20e397ef6f08)\n"
	otherTrace = "panic: assignment to entry in nil map\n\ngoroutine 7 [running]:\nkith/broker.(*Broker).Open(0x20e397ef6f08)\n"
)

func TestOnlyTheEnginesPanicOverItsDiskIsNoTrouble(t *testing.T) {
	for said, want := range map[string]int{engineTrace: 0, otherTrace: 1, otherTrace + engineTrace: 1, engineTrace + otherTrace: 1} {
		file, err := os.Create(filepath.Join(t.TempDir(), "log"))
		if err != nil {
			t.Fatal(err)
		}
		n := &Node{Name: "node1", log: journal{file: file}}
		if _, err := n.log.Write([]byte(said)); err != nil {
			t.Fatal(err)
		}
		if got := (&World{Nodes: []*Node{n}}).Trouble(); len(got) != want {
			t.Errorf("%d lines of trouble, want %d: %v in\n%s", len(got), want, got, said)
		}
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	}
}
