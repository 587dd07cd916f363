package docs_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write conformance.md anew")

// The standards whose normative statements are tracked: each has its list in testdata and its tag in the comments of tests.
var standards = []struct {
	title, list string
	tag         *regexp.Regexp
}{
	{"MQTT 5.0", "testdata/mqtt5.txt", regexp.MustCompile(`\[MQTT-([0-9.]+-[0-9]+)\]`)},
	{"MQTT 3.1.1", "testdata/mqtt3.txt", regexp.MustCompile(`\[MQTT3-([0-9.]+-[0-9]+)\]`)},
}

// tested are the packages whose tests carry tags.
var tested = []string{"../hooks", "../broker", "../cmd/kith/e2e"}

// statement is one line of a list: number|text, number|text|note, number|client|text or number|restricted|text|why.
type statement struct {
	number, kind, text, note string
}

func statements(t *testing.T, path string) (all []statement) {
	t.Helper()
	for line := range strings.Lines(read(t, path)) {
		f := strings.Split(strings.TrimSpace(line), "|")
		s := statement{number: f[0]}
		if f = f[1:]; f[0] == "client" || f[0] == "restricted" {
			s.kind, f = f[0], f[1:]
		}
		s.text = f[0]
		if len(f) > 1 {
			s.note = f[1]
		}
		all = append(all, s)
	}
	return all
}

// tags are the tests whose comments, or those within them, hold a tag: by statement.
func tags(t *testing.T, tag *regexp.Regexp) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	for _, dir := range tested {
		files, err := filepath.Glob(dir + "/*_test.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, path, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			for _, decl := range file.Decls {
				f, ok := decl.(*ast.FuncDecl)
				if !ok || f.Recv != nil || !strings.HasPrefix(f.Name.Name, "Test") {
					continue
				}
				from := f.Pos()
				if f.Doc != nil {
					from = f.Doc.Pos()
				}
				link := fmt.Sprintf("[%s](%s)", f.Name.Name, path)
				for _, c := range file.Comments {
					if c.Pos() < from || c.End() > f.End() {
						continue
					}
					for _, m := range tag.FindAllStringSubmatch(c.Text(), -1) {
						if !slices.Contains(found[m[1]], link) {
							found[m[1]] = append(found[m[1]], link)
						}
					}
				}
			}
		}
	}
	return found
}

const preamble = `# MQTT conformance

Every normative statement of the two standards that Kith speaks, by number, what Kith does about it, and the tests that say so. The
numbers are those of the OASIS standards' appendix "normative statements"; the words are ours. Messages, groups, presence and requests
restrict MQTT on purpose, as said at the statement; below ` + "`{app}/topic/`" + ` it is ordinary MQTT.

This page is made from the tags in the tests: ` + "`go test ./docs -run Conformance -update`" + `. A statement without a test fails that test,
and so does a page that is not up to date.

What MQTT leaves to the server and Kith chooses:

* All three QoS, retained messages, wildcards, shared subscriptions and subscription identifiers are supported.
* The server sends no topic aliases; it takes up to 32 a connection.
* Overlapping subscriptions give one copy, with the highest QoS and all identifiers; a shared one gives a copy of its own.
* Receive Maximum is 1,000, Maximum Packet Size 256 KB, Server Keep Alive at most 600 s, Session Expiry at most the app's ` + "`queue.age`" + `.
* Enhanced authentication is not offered.
`

// Each statement is tested, or it says why not; docs/conformance.md is what the tests say.
func TestConformancePageIsWhatTheTestsSay(t *testing.T) {
	t.Parallel()
	var page strings.Builder
	page.WriteString(preamble)
	for _, std := range standards {
		found := tags(t, std.tag)
		fmt.Fprintf(&page, "\n## %s\n\n| statement | | result | tests |\n|---|---|---|---|\n", std.title)
		for _, s := range statements(t, std.list) {
			tests := found[s.number]
			delete(found, s.number)
			result := "supported"
			switch {
			case s.kind == "client":
				result = "the client's duty"
			case s.kind == "restricted":
				result = "by design: " + s.note
			case s.note != "":
				result = "supported; " + s.note
			}
			if s.kind == "" && len(tests) == 0 {
				t.Errorf("%s, %s: no test has its tag: %s", std.title, s.number, s.text)
			}
			fmt.Fprintf(&page, "| %s | %s | %s | %s |\n", s.number, s.text, result, strings.Join(tests, ", "))
		}
		for number, tests := range found {
			t.Errorf("%s has no statement %s, tagged in %s", std.title, number, strings.Join(tests, ", "))
		}
	}
	if *update && !t.Failed() {
		if err := os.WriteFile("conformance.md", []byte(page.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if read(t, "conformance.md") != page.String() {
		t.Error("conformance.md is not up to date: go test ./docs -run Conformance -update")
	}
}
