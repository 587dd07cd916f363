package main

import (
	"os/exec"
	"strings"
	"testing"
)

// The import arrows of ARCHITECTURE.md, through everything that a package imports. The linter holds the direct ones.
func TestImportArrows(t *testing.T) {
	t.Parallel()
	rules := []struct {
		of     string
		never  []string // import paths, or their beginnings where they end in /
		reason string
	}{
		{"kith/broker", []string{"kith/", "net/http", "github.com/mochi-mqtt/", "github.com/redis/", "github.com/cockroachdb/"}, "the domain knows no technology and none of ours"},
		{"kith/broker/pebblestore", []string{"kith/api", "kith/hooks", "kith/configs", "kith/bridge/", "github.com/mochi-mqtt/"}, "a store knows the broker alone"},
		{"kith/api", []string{"kith/hooks", "kith/configs", "kith/bridge/", "kith/broker/pebblestore", "kith/broker/redisstore", "github.com/mochi-mqtt/"}, "api knows the broker and the edge alone"},
		{"kith/api/archive", []string{"kith/api", "kith/hooks", "kith/configs", "kith/bridge/", "kith/broker/", "net/http"}, "an archive knows the broker alone"},
		{"kith/hooks", []string{"kith/api", "kith/configs", "kith/bridge/", "kith/broker/pebblestore", "kith/broker/redisstore"}, "hooks know the broker and the edge alone"},
		{"kith/bridge/redisbus", []string{"kith/api", "kith/hooks", "kith/configs", "kith/broker/", "net/http", "github.com/mochi-mqtt/", "testing"}, "a bridge knows the broker alone"},
		{"kith/broker/edge", []string{"kith/api", "kith/hooks", "kith/configs", "kith/bridge/", "kith/broker/", "github.com/mochi-mqtt/"}, "the edge knows neither side"},
		{"kith/cmd/kith", []string{"testing", "kith/broker/storetest", "kith/broker/redisstore/redistest", "github.com/rogpeppe/go-internal/testscript"}, "test code is not linked into the product"},
	}
	for _, rule := range rules {
		t.Run(rule.of, func(t *testing.T) {
			t.Parallel()
			out, err := exec.Command("go", "list", "-deps", rule.of).Output()
			if err != nil {
				t.Fatal(err)
			}
			for dep := range strings.FieldsSeq(string(out)) {
				if dep == rule.of {
					continue
				}
				for _, never := range rule.never {
					if dep == never || strings.HasSuffix(never, "/") && strings.HasPrefix(dep, never) {
						t.Errorf("%s comes to import %s: %s", rule.of, dep, rule.reason)
					}
				}
			}
		})
	}
}
