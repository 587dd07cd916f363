package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"kith/broker"
	"kith/configs"
)

// The lines that serve prints at its first start work as pasted.
func TestFirstStartPrintsLinesThatWork(t *testing.T) {
	t.Parallel()
	p := startProcess(t, t.TempDir())
	p.Stdout.waitFor(t, "Ctrl-C stops it.")
	var sub, pub, curl string
	for line := range strings.Lines(p.Stdout.String()) {
		switch line = strings.TrimSpace(line); {
		case strings.HasPrefix(line, "mosquitto_sub"):
			sub = line
		case strings.HasPrefix(line, "mosquitto_pub"):
			pub = line
		case strings.HasPrefix(line, "curl"):
			curl = line
		}
	}
	var heard safeBuffer
	bob := exec.Command("sh", "-c", "exec "+sub)
	bob.Stdout, bob.Stderr = &heard, &heard
	if err := bob.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = bob.Process.Kill()
		_ = bob.Wait()
	})
	heard.waitFor(t, `"opened"`)
	if out, err := exec.Command("sh", "-c", pub).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", pub, err, out)
	}
	heard.waitFor(t, "\nhello\n")
	out, err := exec.Command("sh", "-c", curl).Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", curl, err, out)
	}
	var history struct {
		Items []struct{ From, Message string }
	}
	if err := json.Unmarshal(out, &history); err != nil || len(history.Items) != 1 || history.Items[0].Message != "hello" || history.Items[0].From != "alice" {
		t.Errorf("%s: %v\n%s", curl, err, out)
	}
}

// openPaho opens an MQTT 5 session with a stock client, for what it is told at the end.
func openPaho(t *testing.T, addr, clientID string) <-chan *paho.Disconnect {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan *paho.Disconnect, 1)
	c := paho.NewClient(paho.ClientConfig{
		Conn: conn, OnServerDisconnect: func(d *paho.Disconnect) { told <- d },
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(paho.PublishReceived) (bool, error) { return true, nil }},
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := c.Connect(ctx, &paho.Connect{ClientID: clientID, KeepAlive: 30, UsernameFlag: true, Username: "demo"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return told
}

func TestStopTellsClients(t *testing.T) {
	t.Parallel()
	p := startProcess(t, t.TempDir())
	alice := openPaho(t, p.MQTT, "alice")
	p.signal(t, syscall.SIGTERM)
	select {
	case d := <-alice:
		if d.ReasonCode != 0x8B {
			t.Errorf("reason 0x%02X, want 0x8B (server shutting down)", d.ReasonCode)
		}
	case <-time.After(patience):
		t.Error("the client was told nothing")
	}
	if code := p.wait(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if !strings.Contains(p.Stderr.String(), "kith stopped") {
		t.Errorf("log:\n%s", &p.Stderr)
	}
}

func TestStopIsFastWithSilentConnections(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	for _, addr := range []string{s.MQTT, s.HTTP} { // says nothing, reads nothing
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	openPaho(t, s.MQTT, "alice")
	start := time.Now()
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > stopTimeout {
		t.Errorf("stopped after %v", took)
	}
}

func TestReloadChangesOperators(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	status := func(token string) int {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.HTTP+"/v1/apps", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode
	}
	if got := status(s.Token); got != http.StatusOK {
		t.Fatalf("status %d", got)
	}
	next := testConfig(t)
	next.Apps = append(next.Apps, broker.DefaultAppConfig("second"))
	next.API.Operators[0].Token = "another-token-0123"
	s.next = func() (*configs.Config, error) { return next, nil }
	s.hangup <- syscall.SIGHUP
	s.Log.waitFor(t, "settings reloaded")
	if old, now := status(s.Token), status("another-token-0123"); old != http.StatusUnauthorized || now != http.StatusOK {
		t.Errorf("after the reload the old token gets %d and the new one %d", old, now)
	}
}
