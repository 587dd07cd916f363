package main

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets scripts and child processes of tests run this test binary as kith.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"kith": main})
}

// kith runs a command in this process, without the environment.
func kith(t testing.TB, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return kithEnv(t, nil, stdin, args...)
}

func kithEnv(t testing.TB, environ []string, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	p := &program{environ: environ, stdin: strings.NewReader(stdin), stdout: &out, stderr: &errs}
	code = p.run(t.Context(), args)
	return code, out.String(), errs.String()
}

func TestHelpOfEveryCommandTeaches(t *testing.T) {
	t.Parallel()
	for _, c := range newRoot(&program{}).Commands() {
		if c.Name() == "help" || c.Name() == "completion" {
			continue
		}
		t.Run(c.Name(), func(t *testing.T) {
			t.Parallel()
			code, out, errs := kith(t, "", c.Name(), "--help")
			if code != 0 || errs != "" || !strings.Contains(out, "Examples:") || !strings.Contains(out, "kith "+c.Name()) {
				t.Errorf("code %d, stderr %q, help:\n%s", code, errs, out)
			}
		})
	}
}

func TestWrongUse(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		args string
		want string
	}{
		{"unknown command", "sreve", `unknown command "sreve"`},
		{"unknown flag", "serve --prot 1", "unknown flag: --prot; see kith serve --help"},
		{"too many arguments", "check kith.yaml", `unknown command "kith.yaml" for "kith check"`},
		{"missing flag", "sign", `required flag(s) "peer" not set`},
		{"no such file", "check --config none.yaml", "there is no file none.yaml"},
		{"set without a value", "check --set listen.mqtt", "write key=value"},
		{"log level", "serve --log-level loud", "write debug, info, warn or error"},
		{"address", "tail --peer bob --addr nowhere", "write host:port"},
		{"nobody there", "tail --peer bob --addr 127.0.0.1:1", "nothing listens on 127.0.0.1:1: start it with kith serve"},
		{"chat with nobody", "chat --peer alice --watch=", "--watch names nobody"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			want := exitUsage
			if tt.name == "nobody there" || tt.name == "no such file" {
				want = exitFailed
			}
			code, out, errs := kith(t, "", strings.Fields(tt.args)...)
			if code != want || out != "" || !strings.HasPrefix(errs, "kith: ") || !strings.Contains(errs, tt.want) {
				t.Errorf("code %d, stdout %q, stderr %q; want %q", code, out, errs, tt.want)
			}
		})
	}
}

func TestRunTakesTheProcessEnvironment(t *testing.T) {
	t.Setenv("KITH_LISTEN_MQTTT", ":1")
	var out, errs bytes.Buffer
	code := run(context.Background(), []string{"check"}, strings.NewReader(""), &out, &errs)
	if code != exitUsage || !strings.Contains(errs.String(), "did you mean KITH_LISTEN_MQTT?") {
		t.Errorf("code %d, stderr %q", code, &errs)
	}
}
