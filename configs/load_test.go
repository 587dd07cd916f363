package configs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kith/broker"
	"kith/configs"
)

const twoApps = `
operators: [{name: ops, token: operator-token-1}]
apps:
  - {id: one, master_key: the-key-of-app-one}
  - {id: two, master_key: the-key-of-app-two}
`

// parse is Parse of a file kith.yaml that must be fine.
func parse(t testing.TB, yaml string, s configs.Sources) *configs.Config {
	t.Helper()
	s.File = "kith.yaml"
	c, err := configs.Parse(s, []byte(yaml))
	if err != nil {
		t.Fatalf("parse: %v", err)
	}
	return c
}

// problems are those of a file kith.yaml, one a line.
func problems(t testing.TB, yaml string, s configs.Sources) string {
	t.Helper()
	s.File = "kith.yaml"
	_, err := configs.Parse(s, []byte(yaml))
	if err == nil {
		t.Fatal("no problem found")
	}
	return err.Error()
}

// The example file shows every key with its default.
func TestExampleFileEqualsDefaults(t *testing.T) {
	t.Parallel()
	c, err := configs.Load(configs.Sources{
		File:    "kith.example.yaml",
		Environ: []string{"KITH_APPS_0_MASTER_KEY=some-master-key", "KITH_OPERATORS_0_TOKEN=some-operator-token"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := parse(t, `
operators: [{name: ops, token: some-operator-token}]
apps: [{id: demo, master_key: some-master-key}]
`, configs.Sources{})
	want.ExposedFile = c.ExposedFile // wherever it lies here
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("the example differs from the defaults (-defaults +example):\n%s", diff)
	}
	shown, err := c.YAML()
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("kith.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(keys(shown), keys(example)); diff != "" {
		t.Errorf("keys of the example (-settings +example):\n%s", diff)
	}
}

// keys are the words before a colon, in order.
func keys(yaml []byte) []string {
	var all []string
	for line := range strings.Lines(string(yaml)) {
		line, _, _ = strings.Cut(line, "#")
		word, _, ok := strings.Cut(strings.TrimLeft(line, " -"), ":")
		if ok {
			all = append(all, word)
		}
	}
	return all
}

func TestExampleFileIsRefusedWithItsPlaceholders(t *testing.T) {
	t.Parallel()
	_, err := configs.Load(configs.Sources{File: "kith.example.yaml"})
	if err == nil || !strings.Contains(err.Error(), "apps[0].master_key: is still the example's") {
		t.Errorf("error %v", err)
	}
}

// Every setting can be set in the file, by its variable and by its flag, each stronger than the one before.
func TestEverySettingEveryWay(t *testing.T) {
	t.Parallel()
	values := map[string][3]string{ // in the file, the environment, the flag
		"listen.mqtt":  {":1", ":2", ":3"},
		"listen.mqtts": {"", "", ""}, "listen.tls.cert": {"", "", ""}, "listen.tls.key": {"", "", ""}, "listen.tls.client_ca": {"", "", ""},
		"listen.http":                        {":11", "localhost:12", "[::1]:13"},
		"listen.proxy.trusted":               {"10.0.0.0/8,::1", "10.0.0.7", "192.0.2.0/24"},
		"limits.connections":                 {"1", "2", "0"},
		"limits.memory_bytes":                {"1", "2", "0"},
		"limits.exempt":                      {"10.0.0.7", "", "::1"},
		"limits.address.connections":         {"1", "2", "0"},
		"limits.address.connects_per_second": {"1", "0.5", "0"},
		"limits.address.burst":               {"1", "2", "3"},
		"limits.address.failures":            {"1", "2", "0"},
		"limits.address.ban":                 {"1s", "2s", "1h"},
		"node.name":                          {"n1", "n2", "n3"},
		"node.lease":                         {"5s", "6s", "7s"},
		"node.drain.per_second":              {"1", "2", "3"},
		"node.drain.timeout":                 {"0s", "2m", "3m"},
		"node.drain.reference":               {"a:1", "b:1 b:2", "c"},
		"store.engine":                       {"pebble", "pebble", "pebble"},
		"store.path":                         {"/a", "/b", "/c d"},
		"store.sync":                         {"false", "true", "false"},
		"store.redis.addrs":                  {"a:1", "b:1,b:2", "c:1"},
		"store.redis.username":               {"u1", "u2", "u3"},
		"store.redis.password":               {"p1", "p2", ""},
		"store.redis.db":                     {"1", "2", "3"},
		"store.redis.master_name":            {"m1", "m2", "m3"},
		"store.redis.tls":                    {"true", "false", "true"},
		"store.redis.prefix":                 {"x", "y", "z"},
		"store.redis.sentinel_username":      {"s1", "s2", "s3"},
		"store.redis.sentinel_password":      {"q1", "q2", ""},
		"store.redis.ca":                     {"a.pem", "b.pem", "c.pem"},
		"store.redis.wait_replicas":          {"1", "2", "3"},
		"store.redis.wait_disk":              {"true", "false", "true"},
		"metrics.public":                     {"true", "false", "true"},
		"listen.tls.client_peer":             {"", "", ""}, "operators[].token_hash": {"", "", ""},
		"listen.origins":                      {"https://a.example", "*", "http://b:80,https://c"},
		"apps[].rate.bytes_per_second":        {"1", "2", "0"},
		"apps[].app_rate.messages_per_second": {"1", "2", "0"},
		"apps[].app_rate.burst":               {"1", "2", "3"},
		"apps[].app_rate.bytes_per_second":    {"1", "2", "0"},
		"apps[].connections":                  {"1", "2", "0"},
		"apps[].connects_per_second":          {"1", "0.5", "0"},

		"audit.age": {"1h", "2h", "3h"},

		"operators[].name":                {"o1", "o2", "o3"},
		"operators[].token":               {"token-one", "token-two", ""},
		"operators[].role":                {"admin", "operator", "viewer"},
		"operators[].apps":                {"*", "one", "*"},
		"operators[].requests.per_second": {"0.5", "0", "3"},
		"operators[].requests.burst":      {"1", "2", "3"},

		"apps[].id":                       {"one", "one", "one"},
		"apps[].master_key":               {"key-one", "key, two", ""},
		"apps[].previous_master_key":      {"old-one", "old-two", ""},
		"apps[].app_key":                  {"app-one", "app-two", ""},
		"apps[].signature.required":       {"true", "false", "true"},
		"apps[].signature.window":         {"1h", "2h", "3h"},
		"apps[].signature.replay":         {"reject", "window", "reject"},
		"apps[].signature.reuse":          {"1h", "2h", "0s"},
		"apps[].require_watch":            {"false", "true", "false"},
		"apps[].topics":                   {"a/#", "b,c/+", "#"},
		"apps[].message_bytes":            {"1", "2", "3"},
		"apps[].queue.messages":           {"1", "2", "3"},
		"apps[].queue.age":                {"1h", "2h", "1h30m"},
		"apps[].queue.connected":          {"1", "2", "3"},
		"apps[].watch.per_call":           {"1", "2", "3"},
		"apps[].watch.per_session":        {"101", "102", "103"},
		"apps[].devices":                  {"1", "2", "3"},
		"apps[].group_members":            {"1", "2", "3"},
		"apps[].rate.messages_per_second": {"0.5", "0", "3"},
		"apps[].rate.burst":               {"1", "2", "3"},
		"apps[].presence.grace":           {"1s", "2s", "3s"},
		"apps[].history.age":              {"1h", "2h", "3h"},
		"apps[].history.bytes":            {"1", "2", "3"},
		"apps[].trace":                    {"false", "true", "false"},
		"apps[].requests.per_second":      {"0.5", "0", "3"},
		"apps[].requests.burst":           {"1", "2", "3"},
		"apps[].webhooks":                 {"", "", ""},
		"apps[].push":                     {"", "", ""},
	}
	for _, s := range configs.Settings() {
		want, ok := values[s.Key]
		if !ok {
			t.Errorf("%s is not in this test", s.Key)
			continue
		}
		t.Run(s.Key, func(t *testing.T) {
			t.Parallel()
			key := strings.Replace(s.Key, "[]", "[0]", 1)
			base := parse(t, "operators: [{name: x, token: x}]\napps: [{id: one, master_key: x}]", configs.Sources{})
			if err := base.Set(key, want[0]); err != nil {
				t.Fatal(err)
			}
			file, err := base.YAML()
			if err != nil {
				t.Fatal(err)
			}
			env := configs.Sources{Environ: []string{s.Env + "=" + want[1]}}
			flag := env
			flag.Flags = []configs.Flag{{Name: "--set", Key: key, Value: want[2]}}
			check := func(from, want string, s configs.Sources) {
				t.Helper()
				if got := parse(t, string(file), s).Get(key); got != want {
					t.Errorf("%s: %q, want %q", from, got, want)
				}
			}
			check("file", want[0], configs.Sources{})
			check("environment", want[1], env)
			if !s.Secret {
				check("flag", want[2], flag)
			}
		})
	}
}

func TestListsGrowFromTheEnvironment(t *testing.T) {
	t.Parallel()
	c, err := configs.Parse(configs.Sources{Environ: []string{
		"KITH_APPS_1_MASTER_KEY=second-key", "KITH_APPS_1_ID=second", "KITH_APPS_0_MASTER_KEY=first-key", "KITH_APPS_0_ID=first",
		"KITH_APPS_1_QUEUE_AGE=24h", "HOME=/root", "KITH_CONFIG=x", "KITH_MASTER_KEY=x", "KITH_SERVICE_HOST=10.0.0.1", "KITH_PORT=tcp://10.0.0.1",
	}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Apps) != 2 || c.Apps[0].ID != "first" || c.Apps[1].ID != "second" || c.Apps[1].MasterKey != "second-key" || c.Apps[1].Queue.Age != 24*time.Hour {
		t.Errorf("apps %+v", c.Apps)
	}
	if c.Apps[1].Queue.Messages != broker.DefaultAppConfig("").Queue.Messages {
		t.Error("an app from the environment has no defaults")
	}
	if c.Listen.MQTT != "127.0.0.1:1883" || c.Listen.HTTP != "127.0.0.1:8080" {
		t.Errorf("without a file it listens on %s and %s", c.Listen.MQTT, c.Listen.HTTP)
	}
}

func TestDemoKeysAreMadeOnceForTheOwnerAlone(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "data")
	s := configs.Sources{Environ: []string{"KITH_STORE_PATH=" + folder}}
	if c, err := configs.Load(s); err != nil || !c.Demo || len(c.Apps) != 0 {
		t.Fatalf("only reading: %+v, %v", c, err)
	}
	if _, err := os.Stat(folder); err == nil {
		t.Fatal("only reading made the data folder")
	}
	s.MakeDemo = true
	first, err := configs.Load(s)
	if err != nil {
		t.Fatal(err)
	}
	again, err := configs.Load(s)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, again); diff != "" {
		t.Errorf("the second start differs:\n%s", diff)
	}
	key, token := first.DemoKeys()
	if len(key) < 26 || len(token) < 26 || key == token || first.Apps[0].ID != "demo" || first.Apps[0].Signature.Required {
		t.Errorf("key of %d bytes, token of %d, apps %+v", len(key), len(token), first.Masked().Apps)
	}
	for path, mode := range map[string]os.FileMode{folder: 0o700, first.DemoFile(): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v, want %v", path, info.Mode(), err, mode)
		}
	}
	if w := first.Warnings(); len(w) != 0 {
		t.Errorf("warnings %v", w)
	}
}

func TestPrintedSettingsLoadAgain(t *testing.T) {
	t.Parallel()
	c := parse(t, twoApps, configs.Sources{})
	text, err := c.YAML()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(c, parse(t, string(text), configs.Sources{})); diff != "" {
		t.Errorf("printed and read again:\n%s", diff)
	}
}

func TestMaskedHidesEverySecret(t *testing.T) {
	t.Parallel()
	const hidden = "do-not-show-this"
	c := parse(t, twoApps, configs.Sources{})
	secrets := 0
	for _, s := range configs.Settings() {
		if !s.Secret {
			continue
		}
		secrets++
		if err := c.Set(strings.Replace(s.Key, "[]", "[0]", 1), hidden); err != nil {
			t.Fatal(err)
		}
	}
	text, err := c.Masked().YAML()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), hidden) || strings.Count(string(text), configs.Mask) != secrets+1 {
		t.Errorf("masked settings:\n%s", text)
	}
	if c.Apps[0].MasterKey != hidden {
		t.Error("Masked changed the settings themselves")
	}
}

func TestReloadDiffNamesWhatNeedsARestart(t *testing.T) {
	t.Parallel()
	a := parse(t, twoApps, configs.Sources{})
	b := parse(t, twoApps, configs.Sources{Environ: []string{
		"KITH_LISTEN_MQTT=:9", "KITH_STORE_SYNC=false", "KITH_METRICS_PUBLIC=true", "KITH_APPS_0_DEVICES=3",
	}})
	if diff := cmp.Diff([]string{"listen.mqtt", "store.sync", "metrics.public"}, a.ReloadDiff(b)); diff != "" {
		t.Error(diff)
	}
}
