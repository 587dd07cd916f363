package pebblestore_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"kith/broker"
	"kith/broker/pebblestore"
)

func TestFolderHasOneOwner(t *testing.T) {
	dir := t.TempDir()
	s := open(t, pebblestore.Config{Path: dir}, pebblestore.Options{})
	_, err := pebblestore.Open(pebblestore.Config{Path: dir}, pebblestore.Options{})
	if err == nil || !strings.Contains(err.Error(), "another kith runs on this folder") {
		t.Errorf("second open: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := open(t, pebblestore.Config{Path: dir}, pebblestore.Options{}).Close(); err != nil {
		t.Error(err)
	}
}

func TestNewerFormatIsRefused(t *testing.T) {
	fs := vfs.NewMem()
	if err := open(t, pebblestore.Config{Path: "data"}, pebblestore.Options{FS: fs}).Close(); err != nil {
		t.Fatal(err)
	}
	db, err := pebble.Open("data/store", &pebble.Options{FS: fs, FormatMajorVersion: pebble.FormatNewest})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Set([]byte("zformat"), []byte{2}, pebble.Sync); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the refusal leaves nothing open
		_, err = pebblestore.Open(pebblestore.Config{Path: "data"}, pebblestore.Options{FS: fs})
		if err == nil || !strings.Contains(err.Error(), "start the newer kith") {
			t.Fatalf("open: %v", err)
		}
	}
}

func TestIDsGoOnWhenTheClockGoesBack(t *testing.T) {
	fs, c := vfs.NewMem(), newClock()
	var last broker.MessageID
	for node := range uint32(3) {
		s := open(t, pebblestore.Config{Path: "data", Sync: true}, pebblestore.Options{FS: fs, Now: c.now, Node: 9 - node})
		b := &broker.Batch{Appends: []broker.Append{message("tom", "bob", "x")}}
		if err := commit(t, s, b); err != nil {
			t.Fatal(err)
		}
		if b.Appends[0].ID.Compare(last) <= 0 {
			t.Errorf("id %s after %s", b.Appends[0].ID, last)
		}
		last = b.Appends[0].ID
		c.advance(-time.Hour)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNamesWithNULAreRefused(t *testing.T) {
	s := open(t, pebblestore.Config{Path: "data"}, pebblestore.Options{FS: vfs.NewMem()})
	defer s.Close()
	bad := message("tom", "bob\x00", "x")
	b := &broker.Batch{Appends: []broker.Append{bad}}
	if err := commit(t, s, b); err == nil {
		t.Error("an inbox's name with a NUL was taken")
	}
	if err := commit(t, s, &broker.Batch{Writes: []broker.Write{{Key: broker.Key{Space: broker.SpaceBan, App: "demo", Owner: "a\x00b"}}}}); err == nil {
		t.Error("a record's owner with a NUL was taken")
	}
	if _, err := s.Read(context.Background(), broker.LogID{Kind: broker.LogInbox, App: "demo\x00bob"}, broker.Range{Limit: 1}); err == nil {
		t.Error("a log of an app with a NUL was read")
	}
}
