package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// step is a command of the guide, with the output that the guide shows.
type step struct{ command, output string }

// guide reads docs/migrating.md: the commands behind a $, and the settings.
func guide(t testing.TB) (steps []step, settings string) {
	t.Helper()
	text, err := os.ReadFile("../../../docs/migrating.md")
	if err != nil {
		t.Fatal(err)
	}
	open := false // behind a command, in its block
	for line := range strings.Lines(string(text)) {
		code, indented := strings.CutPrefix(line, "    ")
		command, is := strings.CutPrefix(code, "$ ")
		switch {
		case !indented:
			open = false
		case is:
			steps, open = append(steps, step{command: strings.TrimSpace(command)}), true
		case open:
			steps[len(steps)-1].output += code
		default:
			settings += code
		}
	}
	return steps, settings
}

// passing are the parts of an output that are others each time.
var passing = []struct {
	of *regexp.Regexp
	as string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`), "TIME"},
	{regexp.MustCompile(`"(timestamp|ts)":17\d{11}`), `"$1":MS`},
	{regexp.MustCompile(`0[0-9a-v]{19}`), "ID"},
	{regexp.MustCompile(`in [0-9.]+m?s \(\d+/s\)`), "in DURATION"},
}

func lasting(output string) string {
	for _, p := range passing {
		output = p.of.ReplaceAllString(output, p.as)
	}
	return output
}

// TestTheGuideToMovingInIsFollowed runs every command of docs/migrating.md in its order, on made data, and compares what it prints with
// what the guide shows. One Kith is the service that closes, another the one to move to.
func TestTheGuideToMovingInIsFollowed(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"curl", "openssl", "mosquitto_sub"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("the guide uses %s, which is not installed", tool)
		}
	}
	steps, settings := guide(t)
	key := regexp.MustCompile(`master_key: (\S+)`).FindStringSubmatch(settings)[1]
	item := "{" + strings.Join(regexp.MustCompile(`(id|master_key|app_key|signature): \S.*`).FindAllString(settings, -1), ", ") + "}"
	service, here := startServer(t, t.TempDir(), item), startServer(t, t.TempDir(), item)
	there := &app{server: service, id: "shop", key: key}
	there.makeData(t)

	dir := t.TempDir()
	for name, text := range map[string]string{"kith.yaml": settings, "shop.key": key + "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	host, port, _ := strings.Cut(here.MQTT, ":")
	addresses := strings.NewReplacer(
		"https://service.example", "http://"+service.HTTP,
		"http://127.0.0.1:8080", "http://"+here.HTTP,
		"-h 127.0.0.1 -p 1883", "-h "+host+" -p "+port,
		"kith import ", "kith import --api http://"+here.HTTP+" ",
	)
	for _, s := range steps {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", addresses.Replace(s.command))
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(kith)+":"+os.Getenv("PATH"), "KITH_CONFIG=", "KITH_MASTER_KEY=")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", s.command, err, out)
		}
		if diff := cmp.Diff(lasting(s.output), lasting(string(out))); diff != "" {
			t.Errorf("%s (-guide +printed):\n%s\n%s", s.command, diff, out)
		}
	}
}

// makeData is what the app of the guide has at the service.
func (a *app) makeData(t testing.TB) {
	t.Helper()
	basic := "Basic " + basicOf(a.id, a.key)
	for _, c := range []struct{ path, body string }{
		{"/v1/apps/shop/groups", `{"id":"4ad934r23bjhcas","name":"The team","attributes":{"color":"red"},"members":["1a","2b"]}`},
		{"/v1/apps/shop/messages", `{"from":"2b","to":["1a"],"data":"AP8="}`},
	} {
		if status, answer := a.call(t, http.MethodPost, c.path, c.body, basic); status != http.StatusOK {
			t.Fatalf("%s: status %d: %s", c.path, status, answer)
		}
	}
	for _, m := range []string{
		`"from_peer":"1a","group_id":"4ad934r23bjhcas","message":"{\"_lctype\":-1,\"_lctext\":\"hi\"}"`,
		`"from_peer":"u0988","to_peers":["u1234"],"message":"hello"`,
		`"from_peer":"u1234","to_peers":["u0988"],"message":"今天天气不错！"`,
	} {
		a.legacy(t, http.MethodPost, "/rtm/messages", fmt.Sprintf(`{%s,"transient":false}`, m))
	}
}
