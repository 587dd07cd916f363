package configs

import (
	"slices"
	"strings"
)

// key is a place in the tree of settings: a section with keys below it, a list of sections, or a value.
type key struct {
	below  map[string]*key
	list   string  // the list's name, when this is one
	option *option // when this is a value
}

// tree arranges the options by the parts of their keys.
func tree() *key {
	root := &key{below: map[string]*key{}}
	for i := range options {
		at := root
		for part := range strings.SplitSeq(options[i].key, ".") {
			name, isList := strings.CutSuffix(part, "[]")
			if at.below[name] == nil {
				at.below[name] = &key{below: map[string]*key{}}
			}
			at = at.below[name]
			if isList {
				at.list = name
			}
		}
		at.option = &options[i]
	}
	return root
}

func (k *key) names() []string {
	var names []string
	for name := range k.below {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
