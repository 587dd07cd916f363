// Package e2e_test runs the real program and talks to it with stock clients: paho.golang (MQTT 5), paho.mqtt.golang
// (MQTT 3.1.1), mosquitto_pub and mosquitto_sub, and bare sockets where those cannot do what a test needs. Each test is named after the
// promise of the specification that it holds the program to.
package e2e_test

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"kith/broker/redisstore/redistest"
)

// patience is how long a test waits for what must come.
const patience = 15 * time.Second

const (
	masterKey  = "master-key-of-the-tests"
	adminToken = "admin-token-of-the-tests"
)

// kith is the built program; shared the server that all tests use which need none of their own; redis what the servers keep their
// data in with -store redis, else nil.
var (
	kith   string
	shared *server
	redis  *redistest.Server
)

var engine = flag.String("store", "pebble", "the store that the servers run on: pebble or redis")

func TestMain(m *testing.M) {
	flag.Parse()
	_ = flag.Set("test.parallel", "6") // they mostly wait; the name is the testing package's own
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "kith-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if kith, err = build(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if *engine == "redis" {
		if redis, err = redistest.Launch(dir, "--appendfsync", "everysec"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer redis.Kill()
	}
	c := &config{dir: dir}
	for i := range plainApps {
		c.apps = append(c.apps, fmt.Sprintf("{id: app%03d, master_key: %s}", i, masterKey))
	}
	if shared, err = launch(c); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := shared.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "the shared server:", err)
		return 1
	}
	return code
}

// build makes the program, with the race detector where the tests have it.
func build(dir string) (string, error) {
	path := filepath.Join(dir, "kith")
	args := []string{"build", "-o", path}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "-race" && s.Value == "true" {
				args = append(args, "-race")
			}
		}
	}
	if out, err := exec.Command("go", append(args, "kith/cmd/kith")...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build kith: %w\n%s", err, out)
	}
	return path, nil
}

// config is what a server is started with. The folder keeps its data too.
type config struct {
	dir    string
	listen string   // further keys of "listen"
	more   string   // further sections, as YAML
	apps   []string // items of "apps", as YAML
	args   []string // further arguments
	redis  string   // further keys of "store": of a Redis of the test's own
	node   string   // its name, and further keys of "node"
}

// prefixes keep the data of servers apart that share a Redis.
var prefixes atomic.Int64

func (c *config) path() string { return filepath.Join(c.dir, "kith.yaml") }

func (c *config) write() error {
	var b strings.Builder
	fmt.Fprintf(&b, "listen: {mqtt: \"127.0.0.1:0\", http: \"127.0.0.1:0\"%s}\n", c.listen)
	if c.redis == "" && redis != nil {
		c.redis = fmt.Sprintf(", engine: redis, redis: {addrs: [%q], prefix: e2e%d}", redis.Addr, prefixes.Add(1))
	}
	fmt.Fprintf(&b, "node: {name: %s}\nstore: {path: %q%s}\n", cmp.Or(c.node, "test"), filepath.Join(c.dir, "data"), c.redis)
	b.WriteString(c.more + "\n")
	fmt.Fprintf(&b, "operators: [{name: admin, token: %s, role: admin, apps: [\"*\"]}]\napps:\n", adminToken)
	for _, app := range c.apps {
		fmt.Fprintf(&b, "  - %s\n", app)
	}
	return os.WriteFile(c.path(), []byte(b.String()), 0o600)
}

// server is a running kith serve.
type server struct {
	MQTT, MQTTS, HTTP string // host:port

	config *config
	cmd    *exec.Cmd
	log    logBuffer
	ended  chan struct{} // closed when it has
	err    error         // how, after ended

	reload sync.Mutex
	plain  int // of the plain apps, those taken
}

// launch starts a server and returns when it listens.
func launch(c *config) (*server, error) {
	if err := c.write(); err != nil {
		return nil, err
	}
	s := &server{config: c, ended: make(chan struct{})}
	s.cmd = exec.Command(kith, append([]string{"serve", "--config", c.path()}, c.args...)...)
	s.cmd.Dir, s.cmd.Stderr = c.dir, &s.log
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	listens := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			if _, at, ok := strings.Cut(lines.Text(), " listens:"); ok {
				listens <- at
			}
		}
		s.err = s.cmd.Wait()
		close(s.ended)
	}()
	select {
	case at := <-listens:
		for field := range strings.FieldsSeq(at) {
			switch name, addr, _ := strings.Cut(field, "="); name {
			case "mqtt":
				s.MQTT = addr
			case "mqtts":
				s.MQTTS = addr
			case "http", "https":
				s.HTTP = addr
			}
		}
		return s, nil
	case <-s.ended:
		return nil, fmt.Errorf("kith serve ended (%w):\n%s", errors.Join(s.err), s.log.text(""))
	case <-time.After(patience):
		s.kill()
		return nil, fmt.Errorf("kith serve does not listen:\n%s", s.log.text(""))
	}
}

// startServer starts a server of the test's own, with its data in dir, and ends it with the test.
func startServer(t testing.TB, dir string, apps ...string) *server {
	t.Helper()
	return startWith(t, &config{dir: dir, apps: apps})
}

func startWith(t testing.TB, c *config) *server {
	t.Helper()
	s, err := launch(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		select {
		case <-s.ended:
		default:
			if err := s.stop(); err != nil {
				t.Errorf("stop the server: %v", err)
			}
		}
		if strings.Contains(s.log.text(""), "DATA RACE") {
			t.Error("the server has a data race")
		}
		if t.Failed() {
			t.Logf("the server's log:\n%s", s.log.text(""))
		}
	})
	return s
}

// kill ends the server without a warning, as a power cut would.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	<-s.ended
}

// stop asks it to end and tells if it did not do so in order.
func (s *server) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-s.ended:
	case <-time.After(2 * patience):
		s.kill()
		return errors.New("it does not stop")
	}
	if s.err != nil || strings.Contains(s.log.text(""), "DATA RACE") {
		return fmt.Errorf("%w:\n%s", errors.Join(s.err), s.log.text(""))
	}
	return nil
}

// again starts the server once more in the same folder after a kill or a stop.
func (s *server) again(t testing.TB) *server {
	t.Helper()
	return startWith(t, s.config)
}

// plainApps is how many apps without settings of their own there are from the start; more are added when they are used up.
const plainApps = 150

// app is a tenant, on its server.
type app struct {
	*server
	id  string
	key string
}

// newApp gives the test an app of its own on the shared server. settings are YAML keys of the app.
func newApp(t testing.TB, settings ...string) *app {
	t.Helper()
	s := shared
	s.reload.Lock()
	defer s.reload.Unlock()
	a := &app{server: s, key: masterKey}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the server's log about %s:\n%s", a.id, s.log.text("app="+a.id))
		}
	})
	if len(settings) == 0 && s.plain < plainApps {
		a.id = fmt.Sprintf("app%03d", s.plain)
		s.plain++
		return a
	}
	a.id = fmt.Sprintf("own%03d", len(s.config.apps))
	s.add(t, a.id, fmt.Sprintf("{id: %s, master_key: %s, %s}", a.id, a.key, strings.Join(settings, ", ")))
	return a
}

// add takes up another app without a restart, as an operator does. s.reload is held.
func (s *server) add(t testing.TB, id, item string) {
	t.Helper()
	s.config.apps = append(s.config.apps, item)
	if err := s.config.write(); err != nil {
		t.Fatal(err)
	}
	s.hangup(t)
	waitUntil(t, "app "+id+" was not taken up", func() bool {
		_, body := s.call(t, http.MethodGet, "/v1/apps?limit=1000", "", "Bearer "+adminToken)
		return bytes.Contains(body, []byte(`"`+id+`"`))
	})
}

func (s *server) hangup(t testing.TB) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

// in is an app that the test has configured on a server of its own.
func (s *server) in(id string) *app { return &app{server: s, id: id, key: masterKey} }

// logBuffer collects what the server logs.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// text returns the lines that hold about.
func (b *logBuffer) text(about string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out strings.Builder
	for line := range strings.Lines(b.buf.String()) {
		if strings.Contains(line, about) {
			out.WriteString(line)
		}
	}
	return out.String()
}

// waitUntil polls for what no event tells.
func waitUntil(t testing.TB, what string, done func() bool) {
	t.Helper()
	waitFor(t, patience, what, done)
}

// waitFor does that with a patience of its own.
func waitFor(t testing.TB, patience time.Duration, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for !done() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatal(what)
		}
	}
}
