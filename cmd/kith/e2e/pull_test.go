package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
)

// tool runs a command of kith to its end and returns what it printed.
func tool(t testing.TB, args ...string) (stdout string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), kith, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err = cmd.Run(); err != nil {
		err = fmt.Errorf("kith %s: %w: %s", args[0], err, &errs)
	}
	return out.String(), err
}

func mustTool(t testing.TB, args ...string) string {
	t.Helper()
	out, err := tool(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// legacy makes a call below /1.1 with the master key, which must succeed.
func (a *app) legacy(t testing.TB, method, path, body string) []byte {
	t.Helper()
	status, answer := a.legacyAs(t, a.key+",master", method, path, body)
	if status != http.StatusOK {
		t.Fatalf("%s %s: status %d: %s", method, path, status, answer)
	}
	return answer
}

func (a *app) legacyAs(t testing.TB, key, method, path, body string) (int, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+a.HTTP+"/1.1"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-LC-Id", a.id)
	r.Header.Set("X-LC-Key", key)
	return do(t, r)
}

// fill sends n messages in several conversations, at once.
func (a *app) fill(t testing.TB, n int) {
	t.Helper()
	var g errgroup.Group
	g.SetLimit(20)
	for i := range n {
		g.Go(func() error {
			a.legacy(t, http.MethodPost, "/rtm/messages", fmt.Sprintf(`{"from_peer":"p%d","to_peers":["shop"],"message":"message %d","transient":false}`, i%7, i))
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

// pulled are the lines of a pulled file.
func pulled(t testing.TB, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

// history is the whole history over /1.1, each record as it is told there.
func (a *app) history(t testing.TB) []string {
	t.Helper()
	var records []json.RawMessage
	mustDecode(t, string(a.legacy(t, http.MethodGet, "/rtm/messages/history?limit=1000", "")), &records)
	lines := make([]string, len(records))
	for i, r := range records {
		lines[i] = string(r)
	}
	return lines
}

func TestPullFetchesTheHistoryOfAServerThatSpeaksTheOriginalCalls(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	a.fill(t, 230)
	file := filepath.Join(t.TempDir(), "history.ndjson")
	args := []string{"pull", "--from", "http://" + a.HTTP, "--app", a.id, "--key", a.key, "--output", file, "--page", "50", "--rate", "100"}
	out := mustTool(t, args...)
	if !strings.HasPrefix(out, "230 records, back to ") {
		t.Errorf("printed %q", out)
	}
	if got, want := pulled(t, file), a.history(t); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("pulled %d records, the server has %d", len(got), len(want))
	}
	if out = mustTool(t, args...); !strings.Contains(out, "is complete: 230 records") {
		t.Errorf("again: %q", out)
	}
}

func TestAKilledPullGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	a.fill(t, 120)
	file := filepath.Join(t.TempDir(), "history.ndjson")
	args := []string{"pull", "--from", "http://" + a.HTTP, "--app", a.id, "--key", a.key, "--output", file, "--page", "10"}
	slow := exec.CommandContext(t.Context(), kith, append(args, "--rate", "5")...)
	if err := slow.Start(); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, "the pull does not begin", func() bool {
		info, err := os.Stat(file)
		return err == nil && info.Size() > 0
	})
	_ = slow.Process.Kill()
	_ = slow.Wait()
	mustTool(t, append(args, "--rate", "100")...)
	if got, want := pulled(t, file), a.history(t); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("pulled %d records, the server has %d", len(got), len(want))
	}
}

func TestAPullWithAWrongKeySaysWhatTheServerSaid(t *testing.T) {
	t.Parallel()
	s := startServer(t, t.TempDir(), "{id: shop, master_key: "+masterKey+"}")
	_, err := tool(t, "pull", "--from", "http://"+s.HTTP, "--app", "shop", "--key", "wrong", "--output", filepath.Join(t.TempDir(), "x"))
	if err == nil || !strings.Contains(err.Error(), "exit status 1") || !strings.Contains(err.Error(), "401") || !strings.Contains(err.Error(), "4118") {
		t.Errorf("got %v", err)
	}
}
