package configs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing wrong with the settings.
type Problem struct {
	Key    string // the setting's path, such as "apps[0].queue.age"; empty when it concerns the whole source
	Source string // the file, the environment variable or the flag that it came from; empty for a default
	Line   int    // in the file; 0 for none
	Text   string
}

// String is the form for people: "kith.yaml:12: apps[0].queue.age: 0s is too short".
func (p Problem) String() string {
	var parts []string
	switch {
	case p.Line > 0:
		parts = append(parts, fmt.Sprintf("%s:%d", p.Source, p.Line))
	case p.Source != "":
		parts = append(parts, p.Source)
	}
	if p.Key != "" {
		parts = append(parts, p.Key)
	}
	return strings.Join(append(parts, p.Text), ": ")
}

// Problems are all things wrong with the settings, those of the file first and by line.
type Problems []Problem

// Error lists the problems, one a line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

func (ps Problems) sort() {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		switch {
		case a.Line == 0 && b.Line > 0:
			return 1
		case b.Line == 0 && a.Line > 0:
			return -1
		}
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Source, b.Source))
	})
}
