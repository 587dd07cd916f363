package configs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kith/configs"
)

func TestASecretMayStandInAFileOrAVariable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, content string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil { // whatever the umask
			t.Fatal(err)
		}
		return path
	}
	environ := []string{"SHOP_KEY=key-of-the-environment", "EMPTY="}
	key := func(reference string) (*configs.Config, error) {
		return configs.Parse(configs.Sources{File: "kith.yaml", Environ: environ}, []byte("apps: [{id: shop, master_key: \""+reference+"\"}]"))
	}
	for reference, want := range map[string]string{
		"${env:SHOP_KEY}": "key-of-the-environment",
		"${file:" + file("mine", "key-of-a-file\n", 0o600) + "}": "key-of-a-file",
		"a${env:SHOP_KEY}": "a${env:SHOP_KEY}", // only a whole value refers
	} {
		c, err := key(reference)
		if err != nil {
			t.Errorf("%s: %v", reference, err)
			continue
		}
		if got := c.Apps[0].MasterKey; got != want {
			t.Errorf("%s: %q, want %q", reference, got, want)
		}
		text, err := c.Masked().YAML()
		if err != nil || strings.Contains(string(text), want) || !strings.Contains(string(text), configs.Mask) {
			t.Errorf("%s is printed (%v):\n%s", reference, err, text)
		}
	}
	for reference, want := range map[string]string{
		"${env:NOWHERE}": `the variable "NOWHERE" is not set`,
		"${env:EMPTY}":   "is not set",
		"${file:" + filepath.Join(dir, "nowhere") + "}":                   "no such file",
		"${file:" + file("open", "secret-that-others-read", 0o644) + "}":  "others can read",
		"${file:" + file("empty", "\n", 0o600) + "}":                      "is empty",
		"${file:" + dir + "}":                                             "is no file",
		"${file:/dev/zero}":                                               "is no file",
		"${file:" + file("long", strings.Repeat("x", 1<<17), 0o600) + "}": "too long",
	} {
		_, err := key(reference)
		if err == nil || !strings.Contains(err.Error(), "kith.yaml:1: apps[0].master_key: ") || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret-that") {
			t.Errorf("%s: %v, want %q", reference, err, want)
		}
	}
	c, err := configs.Parse(configs.Sources{Environ: append(environ, "KITH_APPS_0_ID=shop", "KITH_APPS_0_MASTER_KEY=${env:SHOP_KEY}")}, nil)
	if err != nil || c.Apps[0].MasterKey != "key-of-the-environment" {
		t.Errorf("through a variable: %v", err)
	}
}

func TestAnOperatorHasATokenOrItsHash(t *testing.T) {
	t.Parallel()
	hash := "sha256:" + strings.Repeat("ab", 32)
	for operator, want := range map[string]string{
		"token_hash: " + hash:                  "",
		"token: of-chance":                     "",
		"role: viewer":                         "token: missing: make one with: kith token",
		"token: x, token_hash: " + hash:        "token_hash: stands beside a token",
		"token_hash: sha256:abcd":              "token_hash: is not sha256: and 64 hex digits",
		"token_hash: " + strings.ToUpper(hash): "token_hash: is not sha256: and 64 hex digits",
	} {
		_, err := configs.Parse(configs.Sources{File: "kith.yaml"}, []byte("operators: [{name: ops, "+operator+"}]\napps: [{id: shop, master_key: k}]"))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", operator, err, want)
		}
	}
}

func TestAMaskedSecretIsNone(t *testing.T) {
	t.Parallel()
	c := parse(t, twoApps, configs.Sources{})
	text, err := c.Masked().YAML()
	if err != nil {
		t.Fatal(err)
	}
	if got := problems(t, string(text), configs.Sources{}); !strings.Contains(got, "apps[0].master_key: is masked") {
		t.Errorf("what kith check --print shows is taken: %s", got)
	}
}
