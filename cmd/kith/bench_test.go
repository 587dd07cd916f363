package main

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"

	"kith/cmd/kith/bench"
	"kith/configs"
)

// benchServer is a server to be loaded: no bound on the rate, and signatures where asked for.
func benchServer(t *testing.T, signed bool) *server {
	t.Helper()
	return startServer(t, func(c *configs.Config) {
		c.Apps[0].Rate.MessagesPerSecond = 0
		c.Apps[0].Signature.Required = signed
	})
}

// benchmark runs kith bench and returns what it printed as JSON.
func benchmark(t *testing.T, s *server, args ...string) (code int, r bench.Result, errs string) {
	t.Helper()
	code, out, errs := kith(t, "", append([]string{"bench", args[0], "--json", "--addr", s.MQTT}, args[1:]...)...)
	if out != "" {
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	return code, r, errs
}

func TestBenchScenarios(t *testing.T) {
	t.Parallel()
	const short = " --warmup 50ms --duration 200ms"
	tests := []struct {
		name, args string
		expect     func(*bench.Result) bool
	}{
		{"direct", "direct --clients 10" + short, func(r *bench.Result) bool {
			return r.Acks > 0 && r.Deliveries > 0 && r.Ack.P50 > 0 && r.EndToEnd.P99 >= r.EndToEnd.P50
		}},
		{"direct in MQTT 3.1.1", "direct --mqtt 3.1.1 --clients 10" + short, func(r *bench.Result) bool { return r.Acks > 0 }},
		{"direct over WebSocket", "direct --addr ws://HTTP --clients 10" + short, func(r *bench.Result) bool { return r.Acks > 0 && r.Deliveries > 0 }},
		{"direct at QoS 0", "direct --qos 0 --clients 10" + short, func(r *bench.Result) bool { return r.Acks == 0 && r.Deliveries > 0 }},
		{"direct at a rate", "direct --rate 400 --clients 10" + short, func(r *bench.Result) bool {
			return r.Verdict.Sent > 0 && r.Verdict.Sent <= 100
		}},
		{"fanout", "fanout --groups 2 --members 8 --publishers 2" + short, func(r *bench.Result) bool {
			return r.Deliveries > r.Acks && r.Verdict.Due == 9*r.Verdict.Acked
		}},
		{"offline", "offline --receivers 20 --each 5", func(r *bench.Result) bool {
			return r.Verdict.Delivered == 100 && r.Stored > 0 && r.Drained > 0 && r.CatchUp.Max > 0
		}},
		{"connect", "connect --clients 30", func(r *bench.Result) bool { return r.Connects > 0 && r.Connect.P50 > 0 }},
		{"idle", "idle --clients 20 --settle 0s --duration 200ms --ping 1s", func(r *bench.Result) bool { return r.Pings > 0 && r.Ping != nil }},
	}
	for _, signed := range []bool{false, true} {
		s := benchServer(t, signed)
		for _, tt := range tests {
			name := tt.name
			args := append(strings.Fields(strings.ReplaceAll(tt.args, "HTTP", s.HTTP)), "--prefix", strings.ReplaceAll(strings.ReplaceAll(tt.name, " ", "-"), ".", "-"))
			if signed {
				name += ", signed"
				args = append(args, "--key", s.Key, "--rest", "http://"+s.HTTP)
				if args[0] != "fanout" {
					args = args[:len(args)-2]
				}
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				code, r, errs := benchmark(t, s, args...)
				v := r.Verdict
				if code != 0 || errs != "" || !tt.expect(&r) || v != nil && (v.Refused != 0 || v.Due == 0 || v.Delivered != v.Due) {
					t.Errorf("code %d, stderr %q, result %+v, messages %+v", code, errs, r, v)
				}
			})
		}
	}
}

// The groups that bench makes are gone after it, or empty where it may not delete them.
func TestBenchCleansUpItsGroups(t *testing.T) {
	t.Parallel()
	s := benchServer(t, true)
	for _, rest := range []string{"", "http://" + s.HTTP} {
		args := []string{"fanout", "--key", s.Key, "--groups", "3", "--members", "4", "--warmup", "0s", "--duration", "50ms"}
		if code, _, errs := benchmark(t, s, append(args, "--rest", rest)...); code != 0 {
			t.Fatalf("code %d, stderr %q", code, errs)
		}
		var groups struct{ Items []struct{ Members int } }
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.HTTP+"/v1/apps/demo/groups", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("demo", s.Key)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		err = json.NewDecoder(resp.Body).Decode(&groups)
		_ = resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if len(groups.Items) != 3 { // of the first run; the second deleted its own
			t.Errorf("%d groups are left", len(groups.Items))
		}
		for _, g := range groups.Items {
			if g.Members != 0 {
				t.Errorf("a group keeps %d members", g.Members)
			}
		}
	}
}

func TestBenchSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	limited := startServer(t)
	signed := benchServer(t, true)
	tests := []struct {
		name string
		args string
		code int
		want string
	}{
		{"over the app's rate", "direct --clients 2 --window 100 --duration 5s --addr " + limited.MQTT, exitFailed, "rate.messages_per_second is 0"},
		{"signed without a key", "connect --clients 2 --addr " + signed.MQTT, exitFailed, "A signed app needs its master key"},
		{"no such app", "connect --clients 2 --app nobody --addr " + signed.MQTT, exitFailed, "Is --app right?"},
		{"nobody there", "connect --addr 127.0.0.1:1", exitFailed, "nothing listens on 127.0.0.1:1: start it with kith serve"},
		{"another machine", "direct --addr chat.example.com:1883", exitUsage, "add --yes-really-load chat.example.com"},
		{"another machine than agreed", "direct --addr 192.0.2.1:1883 --yes-really-load 192.0.2.2", exitUsage, "192.0.2.1 is not this machine"},
		{"too many descriptors", "idle --clients 2000000000 --addr " + signed.MQTT, exitFailed, "file descriptors"},
		{"size", "direct --size 3", exitUsage, "--size 3"},
		{"window", "direct --window 70000", exitUsage, "--window 70000"},
		{"qos", "direct --qos 2", exitUsage, "--qos 2"},
		{"nothing to do", "fanout --members 0", exitUsage, "nothing to measure"},
		{"too long", "idle --duration 1h", exitUsage, "at most 10m"},
		{"source", "connect --source 127.0.0.9-2", exitUsage, "a range is such as"},
		{"no folder", "disk --path none", exitFailed, "measure the disk"},
		{"unknown scenario", "sideways", exitUsage, `unknown command "sideways"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			code, _, errs := kith(t, "", append([]string{"bench"}, strings.Fields(tt.args)...)...)
			if code != tt.code || !strings.Contains(errs, tt.want) {
				t.Errorf("code %d, stderr %q; want %d, %q", code, errs, tt.code, tt.want)
			}
		})
	}
}

func TestBenchDiskLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	code, out, errs := kith(t, "", "bench", "disk", "--path", dir, "--duration", "50ms")
	if code != 0 || !strings.Contains(out, "fdatasync of 4096 bytes in "+dir) {
		t.Errorf("code %d, stdout %q, stderr %q", code, out, errs)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left in the folder: %v %v", left, err)
	}
}

func TestBenchAloneExplains(t *testing.T) {
	t.Parallel()
	code, out, errs := kith(t, "", "bench")
	for _, want := range []string{"to size your own machines", "kith bench disk --path data", "kith bench fanout"} {
		if code != 0 || errs != "" || !strings.Contains(out, want) {
			t.Errorf("code %d, stderr %q, no %q in:\n%s", code, errs, want, out)
		}
	}
}
