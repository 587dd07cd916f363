package configs_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kith/configs"
)

// The example of a cluster is fine as it stands, with the secrets that make-secrets makes, and its nodes differ in name and address alone.
func TestExampleOfAClusterIsFine(t *testing.T) {
	t.Parallel()
	own, err := filepath.Glob("cluster/kith-*.env")
	if err != nil || len(own) != 3 {
		t.Fatalf("%v, %v", own, err)
	}
	seen := map[string]bool{}
	for _, path := range own {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		environ := slices.Concat(strings.Fields(string(text)), []string{
			"KITH_STORE_REDIS_PASSWORD=password", "KITH_OPERATORS_0_TOKEN=token-of-the-operator", "KITH_APPS_0_MASTER_KEY=master-key-of-the-app",
		})
		c, err := configs.Load(configs.Sources{File: "cluster/kith.yaml", Environ: environ})
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if w := c.Warnings(); len(w) > 0 {
			t.Errorf("%s: %v", path, w)
		}
		for _, own := range []string{c.Node.Name, c.Listen.MQTT, c.Listen.HTTP} {
			if seen[own] {
				t.Errorf("%s: %s is another node's too", path, own)
			}
			seen[own] = true
		}
		balancer, err := os.ReadFile("cluster/haproxy.cfg")
		if err != nil {
			t.Fatal(err)
		}
		for _, server := range []string{c.Listen.MQTT, c.Listen.HTTP} {
			if !strings.Contains(string(balancer), "server "+c.Node.Name+" "+server) {
				t.Errorf("haproxy.cfg has no server %s %s", c.Node.Name, server)
			}
		}
	}
}
