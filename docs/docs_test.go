package docs_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"kith/broker"
	"kith/configs"
)

// pages are the project's pages, from this folder.
func pages(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, pattern := range []string{"../*.md", "*.md", "decisions/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	return all
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	notWord = regexp.MustCompile(`[^\p{L}\p{N} _-]`)

	testFunc = regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	testName = regexp.MustCompile(`\bTest[A-Z]\w+`)
)

// anchors are the fragments that a page's headings can be reached by.
func anchors(text string) map[string]bool {
	all := map[string]bool{}
	for _, h := range heading.FindAllStringSubmatch(text, -1) {
		all[strings.ReplaceAll(notWord.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-")] = true
	}
	return all
}

func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	for _, page := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(read(t, page), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			path, fragment, _ := strings.Cut(m[1], "#")
			target := page
			if path != "" {
				target = filepath.Join(filepath.Dir(page), path)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s, which is not there", page, m[1])
			} else if fragment != "" && !anchors(read(t, target))[fragment] {
				t.Errorf("%s links to %s, which has no such heading", page, m[1])
			}
		}
	}
}

// TestTestsThatPagesNameAreThere holds what is told of tests outside of conformance.md, which is made from them.
func TestTestsThatPagesNameAreThere(t *testing.T) {
	t.Parallel()
	defined := map[string]bool{}
	err := filepath.WalkDir("..", func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, "_test.go") {
			for _, m := range testFunc.FindAllStringSubmatch(read(t, path), -1) {
				defined[m[1]] = true
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages(t) {
		for _, name := range testName.FindAllString(read(t, page), -1) {
			if !defined[name] {
				t.Errorf("%s names %s, which is not there", page, name)
			}
		}
	}
}

func TestSettingsTableHoldsEverySettingAndItsDefault(t *testing.T) {
	t.Parallel()
	row := regexp.MustCompile("(?m)^\\| `([a-z_.\\[\\]]+)` \\| (?:`(.*?)`)? *\\|")
	told := map[string]string{}
	text := read(t, "operating.md")
	_, text, _ = strings.Cut(text, "\n## Settings")
	text, _, _ = strings.Cut(text, "\n## ")
	for _, m := range row.FindAllStringSubmatch(text, -1) {
		told[m[1]] = m[2]
	}
	for _, s := range configs.Settings() {
		standard, ok := told[s.Key]
		if !ok {
			t.Errorf("operating.md does not tell %s", s.Key)
		} else if standard != s.Default {
			t.Errorf("operating.md says that the default of %s is %q; it is %q", s.Key, standard, s.Default)
		}
		delete(told, s.Key)
	}
	for key := range told {
		t.Errorf("operating.md tells %s, which is no setting", key)
	}
}

func TestErrorTableHoldsEveryCode(t *testing.T) {
	t.Parallel()
	text := read(t, "operating.md")
	for code := broker.Code(4000); code < 5000; code++ {
		if name := code.Name(); name != "" && !strings.Contains(text, fmt.Sprintf("\n| %d | %s |", code, name)) {
			t.Errorf("operating.md does not tell %d %s", code, name)
		}
	}
}
