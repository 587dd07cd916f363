package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// An import dies, and the server under it: the same command once more takes the rest, and nothing twice.
func TestAnImportIsRepeatedAfterItAndTheServerWereKilled(t *testing.T) {
	t.Parallel()
	const records = 8000
	s := startServer(t, t.TempDir(), "{id: shop, master_key: "+masterKey+"}")
	file := filepath.Join(t.TempDir(), "history.ndjson")
	var text strings.Builder
	first := time.Now().Add(-48 * time.Hour).UnixMilli()
	for i := range records {
		fmt.Fprintf(&text, `{"timestamp":%d,"conv-id":"","data":"message %d","from":"p%d","msg-id":"m%05d","is-conv":false,"is-room":false,"to":["shop"],"bin":false,"from-ip":"192.0.2.1"}`+"\n",
			first+int64(i/10), i, i%7, i)
	}
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	command := func(s *server) []string {
		return []string{"import", "--quiet", "--api", "http://" + s.HTTP, "--app", "shop", "--key", masterKey, file}
	}
	dies := exec.CommandContext(t.Context(), kith, command(s)...)
	if err := dies.Start(); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, "the import does not begin", func() bool { return len(s.in("shop").history(t)) > 0 })
	_ = dies.Process.Kill()
	_ = dies.Wait()
	s.kill()
	s = s.again(t)
	there := len(exported(t, s))
	if there == 0 || there == records {
		t.Fatalf("the import was killed with %d of %d records there", there, records)
	}
	mustTool(t, command(s)...)
	seen := map[string]int{}
	for _, r := range exported(t, s) {
		seen[r.Message]++
	}
	for i := range records {
		if n := seen[fmt.Sprintf("message %d", i)]; n != 1 {
			t.Errorf("message %d is there %d times", i, n)
		}
	}
	t.Logf("%d of %d records were there after the kill", there, records)
}

type exportedRecord struct {
	Message string `json:"message"`
}

// exported is what kith export tells of the app's messages.
func exported(t testing.TB, s *server) (records []exportedRecord) {
	t.Helper()
	out := mustTool(t, "export", "--messages", "--api", "http://"+s.HTTP, "--app", "shop", "--key", masterKey)
	for line := range strings.Lines(out) {
		var r exportedRecord
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if r.Message != "" {
			records = append(records, r)
		}
	}
	return records
}
