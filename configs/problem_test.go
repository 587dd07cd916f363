package configs_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kith/configs"
)

// All problems are reported at once, in the order of their lines, those of the environment and flags after them.
func TestAllProblemsAtOnce(t *testing.T) {
	t.Parallel()
	got := problems(t, `listen:
  mqtt: "1883"
  htpp: ":8080"
store:
  engine: rocks
  sync: maybe
apps:
  - id: demo
    master_key: a-long-enough-key
    signature: {window: 6, replay: never}
    queue:
      messages: lots
  - id: demo
    topics: ["a/#/b"]
`, configs.Sources{
		Environ: []string{"KITH_LISTEN_MQTTT=:1", "KITH_NODE_NAME=a b"},
		Flags:   []configs.Flag{{Name: "--listen-http", Key: "listen.http", Value: "8080"}},
	})
	want := strings.TrimSpace(`
kith.yaml:2: listen.mqtt: "1883" is not an address; write host:port, :port for all interfaces, or "" for off
kith.yaml:3: listen.htpp: unknown key; did you mean http?
kith.yaml:5: store.engine: "rocks" is not pebble or redis
kith.yaml:6: store.sync: "maybe": true or false expected
kith.yaml:10: apps[0].signature.window: "6": a duration expected, such as 6h, 90s or 0s
kith.yaml:10: apps[0].signature.replay: "never" is not window or reject
kith.yaml:12: apps[0].queue.messages: "lots": a whole number expected
kith.yaml:13: apps[1].master_key: missing: make one, for example with: openssl rand -hex 24
kith.yaml:13: apps[1].id: demo is the id of apps[0] too
kith.yaml:14: apps[1].topics: "a/#/b": # must come last
--listen-http: listen.http: "8080" is not an address; write host:port, :port for all interfaces, or "" for off
KITH_LISTEN_MQTTT: no setting has this variable; did you mean KITH_LISTEN_MQTT?
KITH_NODE_NAME: node.name: "a b" is not 1–64 of A–Z a–z 0–9 _ . -
`)
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestProblems(t *testing.T) {
	t.Parallel()
	const app = "apps: [{id: one, master_key: the-key-of-app-one}]\n"
	tests := []struct{ name, yaml, want string }{
		{"no apps", "listen: {mqtt: ':1'}", "kith.yaml: apps: none: add at least one app with an id and a master_key"},
		{"empty file", "", "kith.yaml: apps: none"},
		{"not YAML", "listen: {mqtt: [", "kith.yaml:2: not YAML: "},
		{"a list of settings", "- listen", "kith.yaml:1: keys and values expected"},
		{"two documents", app + "---\n" + app, "kith.yaml: holds more than one YAML document"},
		{"twice", app + "listen: {}\nlisten: {}", "kith.yaml:3: listen: stands twice, first in line 2"},
		{"section is a value", app + "listen: 1883", "kith.yaml:2: listen: keys and values expected"},
		{"value is a section", app + "node: {name: {}}", "kith.yaml:2: node.name: a single value expected"},
		{"value left out", app + "node:\n  name:", `kith.yaml:3: node.name: has no value; write "" for an empty one`},
		{"list is a section", "apps: {id: one}", "kith.yaml:1: apps: a list expected"},
		{"list of lists", "apps: [{id: one, master_key: the-key-of-app-one, topics: [[a]]}]", "apps[0].topics: a list of plain values expected"},
		{"empty item", app + "operators: [~]", "kith.yaml:2: operators[0]: is empty"},
		{"merge key", "apps: [{<<: {id: one}, id: one, master_key: the-key-of-app-one}]", "apps[0]: merge keys (<<) are not supported"},
		{"self reference", "apps: &a [*a]", "kith.yaml:1: apps[0]: keys and values expected"},
		{"negative", "apps: [{id: one, master_key: k, queue: {age: -1h}}]", "apps[0].queue.age: -1h is too short"},
		{"zero", "apps: [{id: one, master_key: k, signature: {window: 0s}}]", "apps[0].signature.window: 0s is too short"},
		{"not a number", "apps: [{id: one, master_key: k, rate: {messages_per_second: .nan}}]", "messages_per_second: \".nan\": a number expected"},
		{"too many", "apps: [{id: one, master_key: k, devices: 100000}]", "apps[0].devices: 100000 is not between 1 and 1000"},
		{"bad id", "apps: [{id: 'a b', master_key: k}]", `apps[0].id: "a b" is not 1–64 of A–Z a–z 0–9 _ . -`},
		{"no id", "apps: [{master_key: k}]", "apps[0].id: missing"},
		{"wildcard in a word", "apps: [{id: one, master_key: k, topics: ['a+']}]", `"a+": + and # must stand alone between slashes`},
		{"watch limits", "apps: [{id: one, master_key: k, watch: {per_session: 5}}]", "apps[0].watch.per_session: is less than watch.per_call"},
		{"redis without an address", app + "store: {engine: redis, redis: {addrs: []}}", "kith.yaml:2: store.redis.addrs: is empty"},
		{"redis without a port", app + "store: {engine: redis, redis: {addrs: [db]}}", `kith.yaml:2: store.redis.addrs: "db" is not an address`},
		{"redis authority without TLS", app + "store: {engine: redis, redis: {ca: x}}", "kith.yaml:2: store.redis.ca: needs store.redis.tls"},
		{"redis prefix", app + "store: {redis: {prefix: 'a{b}'}}", "kith.yaml:2: store.redis.prefix: holds a brace"},
		{"webhooks", "apps: [{id: one, master_key: k, webhooks: [{url: x}]}]", "apps[0].webhooks: not part of this version"},
		{"push", "apps: [{id: one, master_key: k, push: {fcm: x}}]", "apps[0].push: not part of this version"},
		{"all off", app + "listen: {mqtt: '', http: ''}", "kith.yaml:2: listen: all listeners are off"},
		{"same address", app + "listen: {mqtt: ':1', http: ':1'}", "listen.http: is the address of listen.mqtt too"},
		{"mqtts without a certificate", app + "listen: {mqtts: ':1'}", "listen.mqtts: needs listen.tls.cert and listen.tls.key"},
		{"certificate without its key", app + "listen: {tls: {cert: x}}", "listen.tls.key: missing"},
		{"key without its certificate", app + "listen: {tls: {key: x}}", "listen.tls.cert: missing"},
		{"authority without a certificate", app + "listen: {tls: {client_ca: x}}", "listen.tls.client_ca: needs"},
		{"certificate that is not there", app + "listen: {tls: {cert: none.pem, key: none.pem}}", "kith.yaml:2: listen.tls: open none.pem"},
		{"operator without a token", app + "operators: [{name: o}]", "operators[0].token: missing"},
		{"operator's role", app + "operators: [{name: o, token: t, role: root}]", `operators[0].role: "root" is not viewer, operator or admin`},
		{"operator's app", app + "operators: [{name: o, token: t, apps: [other]}]", `operators[0].apps: "other" is not the id of an app here`},
		{"app key", "apps: [{id: one, master_key: the-key-of-app-one, app_key: the-key-of-app-one}]", "kith.yaml:1: apps[0].app_key: is a master key"},
		{"operators alike", app + "operators: [{name: o, token: t}, {name: o, token: t}]", "operators[1].name: o is used twice"},
		{"token with a space", app + "operators: [{name: o, token: 'a b'}]", "operators[0].token: must be printable ASCII"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := problems(t, tt.yaml, configs.Sources{}); !strings.Contains(got, tt.want) {
				t.Errorf("problems:\n%s\nwant: %s", got, tt.want)
			}
		})
	}
}

func TestOverridesThatCannotBe(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		sources configs.Sources
		want    string
	}{
		{"item past the end", configs.Sources{Environ: []string{"KITH_APPS_7_ID=x"}}, "KITH_APPS_7_ID: apps[7].id: there are 2 apps; the next one is apps[2]"},
		{"unknown of an item", configs.Sources{Environ: []string{"KITH_APPS_1_MASTERKEY=x"}}, "did you mean KITH_APPS_1_MASTER_KEY?"},
		{"unknown flag", configs.Sources{Flags: []configs.Flag{{Name: "--set", Key: "apps[0].que.age", Value: "1h"}}}, "--set: apps[0].que.age: unknown key; did you mean apps[0].queue.age?"},
		{"secret flag", configs.Sources{Flags: []configs.Flag{{Name: "--set", Key: "apps[1].master_key", Value: "oops"}}}, "a secret does not belong on the command line; use the file or KITH_APPS_1_MASTER_KEY"},
		{"list in a flag", configs.Sources{Flags: []configs.Flag{{Name: "--set", Key: "apps", Value: "x"}}}, "unknown key"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := problems(t, twoApps, tt.sources); !strings.Contains(got, tt.want) {
				t.Errorf("problems:\n%s\nwant: %s", got, tt.want)
			}
		})
	}
}

// Whatever is wrong around a secret, the secret is not shown.
func TestProblemsHoldNoSecret(t *testing.T) {
	t.Parallel()
	const hidden = "xyzzy"
	for _, yaml := range []string{
		"apps: [{id: one, master_key: *xyzzy}]",
		"apps: [{id: one, master_key:xyzzy}]",
		"apps: [{id: one, master_key: [xyzzy]}]",
		"apps: [{id: one, master_key: {xyzzy: 1}}]",
		"apps: [{id: one, master_key: @xyzzy}]",
		"apps: [{id: one, master_key: !xyzzy }]",
		"apps:\n - id: one\n   master_key:xyzzy\n",
		"apps:\n - master_key:xyzzy\n",
		"apps:\n - master_key: 'xyzzy\n",
		"apps: [{id: one, master_key: k, master_key: xyzzy}]",
		"operators: [{name: o, token: 'xyzzy xyzzy'}, {name: p, token: 'xyzzy xyzzy'}]",
		"store: {redis: {password: [xyzzy]}}",
	} {
		if got := problems(t, yaml, configs.Sources{}); strings.Contains(got, hidden) {
			t.Errorf("%s\nshows the secret: %s", yaml, got)
		}
	}
	s := configs.Sources{Flags: []configs.Flag{{Name: "--set", Key: "apps[0].master_key=" + hidden, Value: ""}, {Name: "--set", Key: "apps[0].app_key", Value: hidden}}}
	if got := problems(t, twoApps, s); strings.Contains(got, hidden) {
		t.Errorf("shows the secret: %s", got)
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	c := parse(t, `
store: {sync: false}
apps:
  - {id: open, master_key: short}
  - {id: signed, master_key: the-key-of-app-two, signature: {required: true}}
`, configs.Sources{})
	got := c.Warnings().Error()
	want := `apps[0].signature.required: app open takes unsigned sessions, and a listener is open to other machines: anyone who reaches it can be any peer
apps[0].master_key: is only 5 bytes long; make one with: openssl rand -hex 24
store.sync: acknowledged messages can be lost in a power cut`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	c = parse(t, "listen: {mqtt: 'localhost:1', http: '[::1]:2'}"+twoApps, configs.Sources{})
	if w := c.Warnings(); len(w) > 0 {
		t.Errorf("warnings %v", w)
	}
}
