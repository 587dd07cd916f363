package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A node is drained under load: its clients are told to go, in their version's words, and go on at the other node. Nothing is lost, and
// their watchers see nothing of it.
func TestANodeIsDrainedUnderLoad(t *testing.T) {
	c := startCluster(t, 2, 10*time.Second, endless)
	watched := []string{"bob", "tom", "r"}
	watcher := open(t, c.at(1), "watcher", opening{password: watching(watched...)})
	l := newLoad(c)
	s0, s1 := l.sender("s0", 0, "peer/r"), l.sender("s1", 1, "peer/r")
	l.receiver("r", 0, s0, s1)
	bob := open(t, c.at(0), "bob", opening{will: &will{topic: "peer/watcher/bob", payload: "gone", qos: 1}, password: watching("watcher")})
	tom := open(t, c.at(0), "tom", opening{version: 3})
	l.moves(50)
	for _, p := range watched {
		waitUntil(t, "the watcher does not hear of "+p, func() bool { s := watcher.presence(p); return len(s) > 0 && s[len(s)-1] == "online" })
	}
	before := map[string]int{}
	for _, p := range watched {
		before[p] = len(watcher.presence(p))
	}
	if out := c.drain("n0"); !strings.Contains(out, "n0 has no clients any more") {
		t.Errorf("kith drain: %s", out)
	}
	if code := bob.wasTold(); code != 0x9C {
		t.Errorf("bob is told 0x%02X", code)
	}
	tom.wasTold()
	if c.at(0).ready(t) || !c.at(1).ready(t) {
		t.Error("/readyz of the drained node says yes, or that of the other no")
	}
	if no := refused(t, c.at(0), "bob", opening{}); no.code != 0x9C {
		t.Errorf("CONNECT is refused with %+v", no)
	}
	if no := refused(t, c.at(0), "tom", opening{version: 3}); no.code != 3 {
		t.Errorf("CONNECT of MQTT 3.1.1 is refused with %+v", no)
	}
	open(t, c.at(1), "bob", opening{})
	open(t, c.at(1), "tom", opening{version: 3})
	l.moves(50)
	if out := c.drain("n0", "--end"); !strings.Contains(out, "n0 takes clients again") {
		t.Errorf("kith drain --end: %s", out)
	}
	if !c.at(0).ready(t) {
		t.Error("/readyz of the node that was taken back says no")
	}
	l.leave(1)
	l.moves(50)
	l.finish()
	for _, p := range watched[:2] {
		if got := watcher.presence(p); len(got) != before[p] {
			t.Errorf("the watcher heard of %s: %v", p, got)
		}
	}
	watcher.mu.Lock()
	defer watcher.mu.Unlock()
	for _, a := range watcher.all {
		if a.payload == "gone" {
			t.Error("the will of a client that came back was published")
		}
	}
}

// drain runs kith drain against the last node.
func (c *cluster) drain(node string, args ...string) string {
	c.t.Helper()
	token := filepath.Join(c.t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(adminToken), 0o600); err != nil {
		c.t.Fatal(err)
	}
	cmd := exec.Command(kith, append([]string{"drain", node, "--api", "http://" + c.nodes[len(c.nodes)-1].HTTP, "--token-file", token}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		c.t.Fatalf("kith drain: %v\n%s", err, out)
	}
	return string(out)
}
