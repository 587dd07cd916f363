package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The published vectors of spec 2 and 6.
func TestSignPublishedVectors(t *testing.T) {
	t.Parallel()
	const (
		open  = "--key your-master-key --app your-app-id --peer 1 --timestamp 1416290728 --nonce 85561 "
		group = "--key your-master-key --app your-app-id --peer 1 --timestamp 1416290879 --nonce 07995 "
	)
	tests := []struct{ name, args, want string }{
		{"open", open + "--watch 4,2,3", `{"timestamp":1416290728,"nonce":"85561","signature":"cf4a1b6b55ff87753da4ae7f5dd2c33273108b62","watch":["4","2","3"]}`},
		{"open without watching", open, `{"timestamp":1416290728,"nonce":"85561","signature":"8331138904990a6c9649b164df5dba34c5427d22"}`},
		{"super", open + "--watch 2,3,4 --super", `{"timestamp":1416290728,"nonce":"85561","signature":"cd999c7fb9023b0b081b156e994f39b2df4b5cad","watch":["2","3","4"],"super":true}`},
		{"watch", open + "--action watch --peers 2,3,4", `{"timestamp":1416290728,"nonce":"85561","signature":"cf4a1b6b55ff87753da4ae7f5dd2c33273108b62","peers":["2","3","4"]}`},
		{"create a group", group + "--action join", `{"timestamp":1416290879,"nonce":"07995","signature":"ce8ead522fc8db9b3fefdf72606756b600585b56"}`},
		{"join", group + "--action join --group 4ad934r23bjhcas", `{"timestamp":1416290879,"nonce":"07995","signature":"a37540d5b9700e3130a195822056b6cd7d6216dd","group":"4ad934r23bjhcas"}`},
		{"invite", group + "--action invite --group 4ad934r23bjhcas --peers 2,3", `{"timestamp":1416290879,"nonce":"07995","signature":"491504b9afb6a7a058af7db4245000f2522c773e","group":"4ad934r23bjhcas","peers":["2","3"]}`},
		{"kick", group + "--action kick --group 4ad934r23bjhcas --peers 2,3", `{"timestamp":1416290879,"nonce":"07995","signature":"3f3377b1776d6dcde107c5884ec26aeb53e2552f","group":"4ad934r23bjhcas","peers":["2","3"]}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			code, out, errs := kith(t, "", append([]string{"sign"}, strings.Fields(tt.args)...)...)
			if code != 0 || strings.TrimSpace(out) != tt.want {
				t.Errorf("code %d, stderr %q\n got %s\nwant %s", code, errs, out, tt.want)
			}
		})
	}
}

// The master key comes from where its owner keeps it, and is never shown.
func TestSignFindsTheKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	keyFile := write("key.txt", "your-master-key\n")
	config := write("kith.yaml", "apps: [{id: your-app-id, master_key: your-master-key}]")
	empty := write("empty.txt", "\n")
	tests := []struct {
		name    string
		environ []string
		args    []string
		want    string // in stderr; empty: it signs
	}{
		{"flag", nil, []string{"--key", "your-master-key"}, ""},
		{"file", nil, []string{"--key-file", keyFile}, ""},
		{"settings", nil, []string{"--config", config}, ""},
		{"variable", []string{"KITH_MASTER_KEY=your-master-key"}, nil, ""},
		{"variable of settings", []string{"KITH_CONFIG=" + config}, nil, ""},
		{"settings before the variable", []string{"KITH_MASTER_KEY=other"}, []string{"--config", config}, ""},
		{"app of the environment", []string{"KITH_APPS_0_ID=your-app-id", "KITH_APPS_0_MASTER_KEY=your-master-key"}, nil, ""},
		{"two of them", nil, []string{"--key", "x", "--config", config}, "none of the others can be"},
		{"no such file", nil, []string{"--key-file", filepath.Join(dir, "none")}, "no such file"},
		{"empty file", nil, []string{"--key-file", empty}, "is empty"},
		{"no such app", nil, []string{"--config", config, "--app", "other"}, `there is no app "other"; choose one with --app: your-app-id`},
		{"nowhere", []string{"KITH_STORE_PATH=" + filepath.Join(dir, "data")}, nil, "no master key: name a file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"sign", "--app", "your-app-id", "--peer", "1", "--timestamp", "1416290728", "--nonce", "85561"}, tt.args...)
			code, out, errs := kithEnv(t, tt.environ, "", args...)
			if strings.Contains(out+errs, "your-master-key") {
				t.Errorf("shows the key: %s%s", out, errs)
			}
			switch {
			case tt.want == "" && (code != 0 || !strings.Contains(out, "8331138904990a6c9649b164df5dba34c5427d22")):
				t.Errorf("code %d, stdout %q, stderr %q", code, out, errs)
			case tt.want != "" && (code == 0 || !strings.Contains(errs, tt.want)):
				t.Errorf("code %d, stderr %q, want %q", code, errs, tt.want)
			}
		})
	}
}

func TestSignRefusesWhatTheServerWould(t *testing.T) {
	t.Parallel()
	tests := []struct{ args, want string }{
		{"--peer a/b", "is not a peer's id"},
		{"--peer a --watch b,b", "--watch: b stands there twice"},
		{"--peer a --watch b:c", `"b:c" is not a peer's id`},
		{"--peer a --nonce su", "--nonce is 1–64"},
		{"--peer a --nonce a:b", "--nonce is 1–64"},
		{"--peer a --app a:b", "--app"},
		{"--peer a --timestamp -1", "--timestamp"},
		{"--peer a --action leave", `--action "leave" is not`},
		{"--peer a --action kick --group g", "--action kick needs --peers"},
		{"--peer a --action kick --peers b", "--action kick needs --group"},
		{"--peer a --action join --peers b", "takes no --peers"},
		{"--peer a --action join --watch b", "--watch and --super are for CONNECT"},
		{"--peer a --group g", "need an --action"},
		{"--peer a --action join --group 0123456789abcdef0123456789abcdef", "32 hex digits"},
	}
	for _, tt := range tests {
		code, out, errs := kith(t, "", append([]string{"sign", "--key", "k"}, strings.Fields(tt.args)...)...)
		if code != exitUsage || out != "" || !strings.Contains(errs, tt.want) {
			t.Errorf("%s: code %d, stdout %q, stderr %q, want %q", tt.args, code, out, errs, tt.want)
		}
	}
}

func TestSignMakesFreshNonces(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 3 {
		_, out, _ := kith(t, "", "sign", "--key", "k", "--peer", "1")
		var s signed
		if err := json.Unmarshal([]byte(out), &s); err != nil || s.Timestamp == 0 || len(s.Nonce) < 16 || seen[s.Nonce] {
			t.Errorf("%v: %s", err, out)
		}
		seen[s.Nonce] = true
	}
}
