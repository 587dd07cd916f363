package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kith/broker/redisstore/redistest"
)

// kithIn runs the program with a settings file in a folder.
func kithIn(t *testing.T, dir string, args ...string) (code int, out string) {
	t.Helper()
	var text safeBuffer
	code = run(context.Background(), append(args, "--config", filepath.Join(dir, "kith.yaml")), strings.NewReader(""), &text, &text)
	return code, text.String()
}

func TestAServersStoreMovesToRedisAndBack(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("kith.yaml", `node: {name: one, lease: 3s}
store: {path: `+filepath.Join(dir, "data")+`, redis: {addrs: ["`+redis.Addr+`"]}}
apps: [{id: demo, master_key: "012345678901234567890123"}]
`)
	write("history.ndjson", `{"objectId":"5541c02c","m":["u1","u2"],"topic":"tea"}
{"timestamp":1408008498571,"data":"hi","from":"u1","msg-id":"aaa","to":["u2"]}
`)
	export := func(args ...string) string {
		t.Helper()
		p := startProcess(t, dir, append([]string{"--config", "kith.yaml"}, args...)...)
		if code, out := kithIn(t, dir, "import", "--api", "http://"+p.HTTP, "--quiet", filepath.Join(dir, "history.ndjson")); code != 0 {
			t.Fatal(out)
		}
		code, out := kithIn(t, dir, "export", "--api", "http://"+p.HTTP)
		if code != 0 {
			t.Fatal(out)
		}
		for _, engines := range [][2]string{{"pebble", "redis"}, {"redis", "pebble"}} {
			if code, out := kithIn(t, dir, "migrate", "--from", engines[0], "--to", engines[1]); code != exitFailed || !strings.Contains(out, "stop") && !strings.Contains(out, "another kith runs") {
				t.Errorf("while a server runs: %d %s", code, out)
			}
		}
		p.kill()
		return out
	}
	first := export()
	if code, out := kithIn(t, dir, "migrate", "--from", "pebble", "--to", "redis"); code != 0 || !strings.Contains(out, "moved from pebble to redis") {
		t.Fatal(out)
	}
	if there := export("--store-engine", "redis"); there != first {
		t.Errorf("in redis:\n%s\nnot\n%s", there, first)
	}
	if err := os.RemoveAll(filepath.Join(dir, "data")); err != nil {
		t.Fatal(err)
	}
	if code, out := kithIn(t, dir, "migrate", "--from", "redis", "--to", "pebble"); code != 0 || !strings.Contains(out, "moved from redis to pebble") {
		t.Fatal(out)
	}
	if back := export(); back != first {
		t.Errorf("back:\n%s\nnot\n%s", back, first)
	}
	if code, _ := kithIn(t, dir, "migrate", "--from", "pebble", "--to", "pebble"); code != exitUsage {
		t.Errorf("from an engine to itself: %d", code)
	}
}
