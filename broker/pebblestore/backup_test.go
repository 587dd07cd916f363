package pebblestore_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"kith/broker"
	"kith/broker/pebblestore"
)

// content is what a store holds of the app demo, by what can be asked of it.
func content(t *testing.T, s *pebblestore.Store) map[string]any {
	t.Helper()
	all := map[string]any{}
	for _, log := range []broker.LogID{
		{Kind: broker.LogApp, App: "demo"}, {Kind: broker.LogInbox, App: "demo", Owner: "bob"}, {Kind: broker.LogSent, App: "demo", Owner: "tom"},
	} {
		entries, err := s.Read(t.Context(), log, broker.Range{Limit: 100_000})
		if err != nil {
			t.Fatal(err)
		}
		all[fmt.Sprint(log)] = entries
		if log.Kind != broker.LogApp {
			continue
		}
		ids := make([]broker.MessageID, len(entries))
		for i := range entries {
			ids[i] = entries[i].ID
		}
		messages, err := s.Messages(t.Context(), "demo", ids)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages {
			all[m.ID.String()] = string(m.Payload)
		}
	}
	records, err := s.List(t.Context(), broker.ListQuery{Space: broker.SpaceBan, App: "demo", Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	all["bans"] = records
	return all
}

// The folder of the data is the operator's, too, who may keep backups in it.
func TestABackupLeavesOthersFilesAlone(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, pebblestore.Config{Path: "data"}, pebblestore.Options{FS: fs})
	fill(t, s, 3)
	own := fs.PathJoin("data", "backup")
	if err := fs.MkdirAll(own, 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := fs.Create(fs.PathJoin(own, "kith.tar"), vfs.WriteCategoryUnspecified)
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Backup(t.Context(), io.Discard); err != nil {
		t.Fatal(err)
	}
	if _, err := fs.Stat(fs.PathJoin(own, "kith.tar")); err != nil {
		t.Errorf("the backup before: %v", err)
	}
}

func fill(t *testing.T, s *pebblestore.Store, n int) {
	t.Helper()
	for i := range n {
		b := &broker.Batch{
			Appends: []broker.Append{message("tom", "bob", strings.Repeat(fmt.Sprint(i), 300))},
			Writes:  []broker.Write{{Key: broker.Key{Space: broker.SpaceBan, App: "demo", Owner: fmt.Sprint("peer", i)}, Value: []byte("x")}},
		}
		if err := commit(t, s, b); err != nil {
			t.Fatal(err)
		}
	}
}

// whileTaken calls do once a first part was written.
type whileTaken struct {
	bytes.Buffer
	do func()
}

func (w *whileTaken) Write(b []byte) (int, error) {
	if do := w.do; do != nil {
		w.do = nil
		do()
	}
	return w.Buffer.Write(b)
}

func TestABackupIsTheStoreOfOneMomentWhileItGoesOn(t *testing.T) {
	dir := t.TempDir()
	s := open(t, pebblestore.Config{Path: dir, Sync: true}, pebblestore.Options{MemTableBytes: 256 << 10})
	fill(t, s, 600)
	then := content(t, s)
	backup := &whileTaken{do: func() {
		fill(t, s, 600)
		if err := s.Backup(t.Context(), io.Discard); !errors.Is(err, pebblestore.ErrBackupRuns) {
			t.Errorf("a second one meanwhile: %v", err)
		}
	}}
	if err := s.Backup(t.Context(), backup); err != nil {
		t.Fatal(err)
	}
	if err := s.Backup(t.Context(), io.Discard); err != nil {
		t.Errorf("once more: %v", err)
	}
	last := content(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	cfg := pebblestore.Config{Path: t.TempDir(), Sync: true}
	if err := pebblestore.Restore(cfg, pebblestore.Options{}, bytes.NewReader(backup.Bytes())); err != nil {
		t.Fatal(err)
	}
	restored := open(t, cfg, pebblestore.Options{})
	if diff := cmp.Diff(then, content(t, restored)); diff != "" {
		t.Errorf("restored (-then +now):\n%s", diff)
	}
	fill(t, restored, 1) // it goes on
	if err := restored.Close(); err != nil {
		t.Fatal(err)
	}
	if err := pebblestore.Restore(cfg, pebblestore.Options{}, bytes.NewReader(backup.Bytes())); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("over a store that is there: %v", err)
	}
	s = open(t, pebblestore.Config{Path: dir, Sync: true}, pebblestore.Options{})
	defer s.Close()
	if diff := cmp.Diff(last, content(t, s)); diff != "" {
		t.Errorf("the store itself (-then +now):\n%s", diff)
	}
}

func TestADamagedBackupIsNotRestored(t *testing.T) {
	s := open(t, pebblestore.Config{Path: "data"}, pebblestore.Options{FS: vfs.NewMem()})
	fill(t, s, 200)
	var backup bytes.Buffer
	if err := s.Backup(t.Context(), &backup); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	whole := backup.Bytes()
	flipped := bytes.Clone(whole)
	at := bytes.Index(flipped, []byte("99999999")) // in a message
	flipped[at] ^= 1
	sums := bytes.Index(whole, []byte("SHA256SUMS"))
	for name, test := range map[string]struct {
		data []byte
		want string
	}{
		"nothing":          {nil, "not whole"},
		"half":             {whole[:len(whole)/2], "not whole"},
		"without its sums": {whole[:sums], "not whole"},
		"half of its sums": {whole[:sums+600], "not whole"},
		"another byte":     {flipped, "damaged"},
		"something else":   {[]byte(strings.Repeat("nonsense ", 1000)), "no backup"},
	} {
		fs := vfs.NewMem()
		err := pebblestore.Restore(pebblestore.Config{Path: "data"}, pebblestore.Options{FS: fs}, bytes.NewReader(test.data))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
		if left, _ := fs.List("data"); len(left) != 0 {
			t.Errorf("%s leaves %v", name, left)
		}
	}
	if err := pebblestore.Restore(pebblestore.Config{Path: "data"}, pebblestore.Options{FS: vfs.NewMem()}, bytes.NewReader(whole)); err != nil {
		t.Errorf("the whole: %v", err)
	}
}
