package main

import (
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs the whole program as testdata/*.txtar say. Beside testscript's own commands there are
//
//	serve [flags]            starts kith serve on free ports; sets MQTT, MQTT_PORT and HTTP
//	signal HUP|TERM|KILL     sends the server a signal; TERM and KILL wait for its end and need exit code 0 and -1
//	log text                 waits until the server's log holds text
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Values[scriptKey{}] = new(scriptServer)
			env.Setenv("LONG", strings.Repeat("x", 5121)) // one byte over what a message may have
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve": scriptServe, "signal": scriptSignal, "log": scriptLog,
		},
	})
}

// scriptServer is the server of one script.
type scriptServer struct{ *process }

type scriptKey struct{}

func serverOf(ts *testscript.TestScript) *scriptServer { return ts.Value(scriptKey{}).(*scriptServer) }

func scriptServe(ts *testscript.TestScript, neg bool, args []string) {
	environ := os.Environ()
	for _, name := range []string{"KITH_CONFIG", "KITH_STORE_PATH", "KITH_APPS_0_ID", "KITH_APPS_0_MASTER_KEY"} {
		if v := ts.Getenv(name); v != "" {
			environ = append(environ, name+"="+v)
		}
	}
	p, err := launch(ts.MkAbs("."), environ, args)
	if neg != (err != nil) {
		if err == nil {
			p.kill()
		}
		ts.Fatalf("serve: %v", err)
	}
	if err != nil {
		ts.Logf("%v", err)
		return
	}
	ts.Defer(p.kill)
	_, port, err := net.SplitHostPort(p.MQTT)
	ts.Check(err)
	ts.Setenv("MQTT", p.MQTT)
	ts.Setenv("MQTT_PORT", port)
	ts.Setenv("HTTP", p.HTTP)
	serverOf(ts).process = p
}

func scriptSignal(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: signal HUP|TERM|KILL")
	}
	p := serverOf(ts)
	s, want := map[string]syscall.Signal{"HUP": syscall.SIGHUP, "TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL}[args[0]], 0
	ts.Check(p.cmd.Process.Signal(s))
	switch args[0] {
	case "HUP":
		return
	case "KILL":
		want = -1
	}
	select {
	case <-p.ended:
	case <-time.After(patience):
		ts.Fatalf("kith does not end")
	}
	if code := p.cmd.ProcessState.ExitCode(); code != want {
		ts.Fatalf("exit code %d, want %d:\n%s", code, want, &p.Stderr)
	}
}

func scriptLog(ts *testscript.TestScript, neg bool, args []string) {
	p, text := serverOf(ts), strings.Join(args, " ")
	if neg {
		if strings.Contains(p.Stderr.String(), text) {
			ts.Fatalf("the log holds %q:\n%s", text, &p.Stderr)
		}
		return
	}
	for end := time.Now().Add(patience); !strings.Contains(p.Stderr.String(), text); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			ts.Fatalf("no %q in the log:\n%s", text, &p.Stderr)
		}
	}
}
