package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"kith/configs"
)

// talker is a kith chat of a test.
type talker struct {
	keys  *io.PipeWriter
	Out   safeBuffer
	ended chan int
}

func chat(t *testing.T, s *server, peer, watch string, more ...string) *talker {
	t.Helper()
	stdin, keys := io.Pipe()
	c := &talker{keys: keys, ended: make(chan int, 1)}
	p := &program{stdin: stdin, stdout: &c.Out, stderr: &c.Out}
	args := append([]string{"chat", "--addr", s.MQTT, "--peer", peer, "--watch", watch}, more...)
	go func() { c.ended <- p.run(t.Context(), args) }()
	t.Cleanup(func() {
		keys.Close()
		if code := <-c.ended; code != 0 {
			t.Errorf("%s's chat ended with code %d:\n%s", peer, code, &c.Out)
		}
	})
	c.Out.waitFor(t, "* connected as "+peer)
	return c
}

func (c *talker) types(t *testing.T, line string) {
	t.Helper()
	if _, err := fmt.Fprintln(c.keys, line); err != nil {
		t.Fatal(err)
	}
}

func TestChatIsAConversation(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	alice := chat(t, s, "alice", "bob")
	alice.Out.waitFor(t, "* bob is offline")
	bob := chat(t, s, "bob", "alice")
	alice.Out.waitFor(t, "* bob is online")
	bob.Out.waitFor(t, "* alice is online")

	alice.types(t, "hello bob")
	bob.Out.waitFor(t, "alice: hello bob")
	alice.Out.waitFor(t, "✓ bob received: hello bob")
	bob.types(t, "hello \x1b[31malice") // nobody steers another's terminal
	alice.Out.waitFor(t, "bob: hello �[31malice")

	alice.types(t, "/to carol")
	alice.Out.waitFor(t, "* carol is offline")
	alice.types(t, "are you there?")
	s.awaitHistory(t, "are you there?") // before carol comes
	carol := chat(t, s, "carol", "alice")
	carol.Out.waitFor(t, "alice: are you there?  (waited)")
	alice.Out.waitFor(t, "✓ carol received: are you there?")

	bob.types(t, "/quit")
	waitUntil(t, func() bool { return strings.Count(alice.Out.String(), "* bob is offline") == 2 },
		func() string { return "alice does not see bob leave:\n" + alice.Out.String() })
}

// awaitHistory waits until a message was stored.
func (s *server) awaitHistory(t *testing.T, text string) {
	t.Helper()
	history := func() string {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.HTTP+"/v1/apps/demo/messages", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("demo", s.Key)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	waitUntil(t, func() bool { return strings.Contains(history(), text) }, func() string { return "not in history: " + text })
}

func TestChatInASignedApp(t *testing.T) {
	t.Parallel()
	s := startServer(t, func(c *configs.Config) { c.Apps[0].Signature.Required = true })
	alice := chat(t, s, "alice", "bob", "--key", s.Key)
	bob := chat(t, s, "bob", "alice", "--key", s.Key)
	alice.types(t, "signed")
	bob.Out.waitFor(t, "alice: signed")
	alice.types(t, "/to carol")
	alice.types(t, "signed as well")
	alice.Out.waitFor(t, "* carol is offline")
	if out := alice.Out.String(); strings.Contains(out, "! ") {
		t.Errorf("refused:\n%s", out)
	}
}

func TestChatTellsWhyItWasRefused(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	alice := chat(t, s, "alice", "bob")
	alice.types(t, strings.Repeat("x", 5121))
	alice.Out.waitFor(t, "! not sent to bob: 4109 message_too_long")
}

// What is typed while there is no connection is sent, once, when it is back.
func TestChatSurvivesARestartOfTheServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := startProcess(t, dir)
	alice := chat(t, &server{MQTT: first.MQTT}, "alice", "bob")
	alice.Out.waitFor(t, "* bob is offline")
	first.kill()
	alice.Out.waitFor(t, "* connection lost")
	alice.types(t, "are we back?")
	startProcess(t, dir, "--listen-mqtt", first.MQTT)
	waitUntil(t, func() bool { return strings.Count(alice.Out.String(), "* connected as alice") == 2 },
		func() string { return "alice does not come back:\n" + alice.Out.String() })
	bob := chat(t, &server{MQTT: first.MQTT}, "bob", "alice")
	bob.Out.waitFor(t, "alice: are we back?")
	alice.Out.waitFor(t, "✓ bob received: are we back?")
	if n := strings.Count(bob.Out.String(), "are we back?"); n != 1 {
		t.Errorf("bob got it %d times:\n%s", n, &bob.Out)
	}
}
