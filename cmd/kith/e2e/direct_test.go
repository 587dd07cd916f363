package e2e_test

import (
	"fmt"
	"strings"
	"testing"
)

func TestMessagesOfEveryQoSArriveWithoutSubscribing(t *testing.T) {
	t.Parallel()
	inBothVersions(t, func(t *testing.T, version int) {
		a := newApp(t)
		alice := open(t, a, "alice", opening{version: version, password: watching("bob")})
		bob := open(t, a, "bob", opening{version: version, password: watching("alice")})
		for qos := range byte(3) {
			text := fmt.Sprintf("at qos %d", qos)
			alice.publish("peer/bob/alice", text, publication{qos: qos})
			got := bob.wants("peer/bob/alice", text)
			if want := min(qos, 1); qos != 2 && got.qos > want || qos == 1 && got.qos != 1 {
				t.Errorf("%s arrives at qos %d", text, got.qos)
			}
			bob.publish("peer/alice/bob", text, publication{qos: qos})
			alice.wants("peer/alice/bob", text)
		}
	})
}

// What a message brings along arrives; the server's own names do not pass.
func TestTheServersNamesAreNotPassedOn(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	alice := open(t, a, "alice", opening{password: watching("bob")})
	bob := open(t, a, "bob", opening{})
	alice.send("peer/bob/alice", "m", "ts", "1", "offline", "true", "to", "carol", "conversation", "x", "receipt", "false", "mine", "kept")
	got := bob.wants("peer/bob/alice", "m")
	if got.user("offline") != "" || got.user("to") != "" || got.user("conversation") != "" || got.user("receipt") != "" ||
		strings.Contains(got.user("ts"), ",") || got.user("mine") != "kept" {
		t.Errorf("user properties %v", got.props.User)
	}
}
