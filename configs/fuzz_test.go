package configs_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kith/configs"
)

// Whatever the file holds, Parse returns settings that print and load again alike, or problems that lie in the file.
func FuzzParse(f *testing.F) {
	example, err := os.ReadFile("kith.example.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		"", twoApps, string(example), strings.ReplaceAll(string(example), configs.Placeholder, "key"),
		"apps: &a [*a]", "apps: [{<<: *x}]", "a: b: c", "%YAML 2\n---\n", "\xff\xfea\x00", "? [a]\n: b", "apps: [[[[[[",
		"apps: [{id: one, master_key: k, queue: {age: 1e9h}}]", "apps: [{id: one, master_key: !!binary aGk=}]", "listen: !!set {mqtt}",
		"store: {path: \"a\\nb\", redis: {addrs: ['a,b', '']}}\napps: [{id: a, master_key: ' \\t'}]",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, yaml string) {
		c, err := configs.Parse(configs.Sources{File: "kith.yaml"}, []byte(yaml))
		if err != nil {
			problems, ok := errors.AsType[configs.Problems](err)
			if !ok || len(problems) == 0 {
				t.Fatalf("not problems: %v", err)
			}
			for _, p := range problems {
				if lines := strings.Count(yaml, "\n") + strings.Count(yaml, "\r") + strings.Count(yaml, "\u0085") + strings.Count(yaml, "\u2028") + strings.Count(yaml, "\u2029") + 2; p.Line < 0 || p.Line > lines {
					t.Errorf("%v lies outside of the file's %d lines", p, lines)
				}
			}
			return
		}
		text, err := c.YAML()
		if err != nil {
			t.Fatal(err)
		}
		again, err := configs.Parse(configs.Sources{File: "kith.yaml"}, text)
		if err != nil {
			t.Fatalf("printed settings do not load: %v\n%s", err, text)
		}
		if diff := cmp.Diff(c, again); diff != "" {
			t.Errorf("printed and loaded again:\n%s\n%s", diff, text)
		}
	})
}
