package configs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// readFile applies a YAML document to the loader's settings. name stands for the file in problems.
func (l *loader) readFile(name string, data []byte) {
	l.places[""] = place{source: name}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	if err := decoder.Decode(&doc); errors.Is(err, io.EOF) {
		return // an empty file: all defaults
	} else if err != nil {
		l.syntax(name, err)
		return
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		l.report(Problem{Source: name, Text: "holds more than one YAML document; only one is allowed"})
	}
	for _, n := range doc.Content {
		l.section(name, tree(), "", 0, n)
	}
}

var (
	syntaxLine    = regexp.MustCompile(`line (\d+)`)
	unknownAnchor = regexp.MustCompile(`unknown anchor .* referenced`)
)

// syntax reports what the YAML parser could not read, without quoting the file: a part of it may be a secret.
func (l *loader) syntax(name string, err error) {
	p := Problem{Source: name}
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if m := syntaxLine.FindStringSubmatch(text); m != nil {
		p.Line, _ = strconv.Atoi(m[1]) // digits by the expression; one too long leaves 0
	}
	if _, after, ok := strings.Cut(text, ": "); ok && p.Line > 0 {
		text = after
	}
	text = unknownAnchor.ReplaceAllString(text, "a value that starts with * must be in quotes")
	p.Text = "not YAML: " + text
	l.report(p)
	l.unread = true
}

// section applies the mapping n to the keys below k. i is the item when the section lies in a list.
func (l *loader) section(name string, k *key, path string, i int, n *yaml.Node) {
	n = resolve(n)
	if isNull(n) {
		return // "listen:" with all its keys commented out
	}
	if n.Kind != yaml.MappingNode {
		l.report(Problem{Key: path, Source: name, Line: n.Line, Text: "keys and values expected"})
		return
	}
	seen := map[string]int{}
	for j := 0; j+1 < len(n.Content); j += 2 {
		word, value := n.Content[j], n.Content[j+1]
		below, known := k.below[word.Value]
		if !known || word.Kind != yaml.ScalarNode {
			l.unknownKey(name, k, path, word)
			continue
		}
		child := join(path, word.Value)
		if line, twice := seen[word.Value]; twice {
			l.report(Problem{Key: child, Source: name, Line: word.Line, Text: fmt.Sprintf("stands twice, first in line %d", line)})
			continue
		}
		seen[word.Value] = word.Line
		l.places[child] = place{name, word.Line}
		switch {
		case below.option != nil:
			l.value(name, below.option, child, i, value)
		case below.list != "":
			l.items(name, below, child, value)
		default:
			l.section(name, below, child, i, value)
		}
	}
}

// items applies the sequence n to a list.
func (l *loader) items(name string, k *key, path string, n *yaml.Node) {
	n = resolve(n)
	if isNull(n) {
		return
	}
	if n.Kind != yaml.SequenceNode {
		l.report(Problem{Key: path, Source: name, Line: n.Line, Text: "a list expected"})
		return
	}
	for i, item := range n.Content {
		child := fmt.Sprintf("%s[%d]", path, i)
		l.places[child] = place{name, item.Line}
		lists[k.list].grow(l.config)
		if isNull(resolve(item)) {
			l.report(Problem{Key: child, Source: name, Line: item.Line, Text: "is empty"})
			continue
		}
		l.section(name, k, child, i, item)
	}
}

// value sets one option.
func (l *loader) value(name string, o *option, path string, i int, n *yaml.Node) {
	n = resolve(n)
	bad := ""
	switch ptr := o.at(l.config, i).(type) {
	case *[]string:
		bad = setStrings(ptr, n)
	case reserved:
		if !isNull(n) && (n.Kind == yaml.ScalarNode || len(n.Content) > 0) {
			bad = parse(ptr, "something")
		}
	default:
		switch {
		case n.Kind != yaml.ScalarNode:
			bad = "a single value expected"
		case isNull(n):
			bad = `has no value; write "" for an empty one`
		default:
			bad = l.parse(o, ptr, n.Value)
			if o.secret && n.Value != "" && !secretReference.MatchString(n.Value) && l.exposed {
				l.config.ExposedFile = name
			}
			if bad != "" && !o.secret {
				bad = quote(n.Value) + ": " + bad
			}
		}
	}
	if bad != "" {
		l.report(Problem{Key: path, Source: name, Line: n.Line, Text: bad})
		l.bad[path] = true
	}
}

func setStrings(ptr *[]string, n *yaml.Node) (bad string) {
	if n.Kind != yaml.SequenceNode {
		return `a list expected, such as ["a", "b"]`
	}
	*ptr = nil
	for _, item := range n.Content {
		item = resolve(item)
		if item.Kind != yaml.ScalarNode || isNull(item) {
			return "a list of plain values expected"
		}
		*ptr = append(*ptr, item.Value)
	}
	return ""
}

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]*`)

// unknownKey reports a key that is no setting. Only its plain beginning is shown: "{master_key:abc}" is, to YAML, a key
// that holds the secret.
func (l *loader) unknownKey(name string, k *key, path string, word *yaml.Node) {
	shown := plainKey.FindString(word.Value)
	p := Problem{Key: join(path, shown), Source: name, Line: word.Line, Text: "unknown key"}
	if word.Value == "<<" {
		p.Key, p.Text = path, "merge keys (<<) are not supported"
	}
	if near := nearest(shown, k.names()); near != "" {
		p.Text += fmt.Sprintf("; did you mean %s?", near)
	} else if len(k.below) > 0 {
		p.Text += "; known here: " + strings.Join(k.names(), ", ")
	}
	l.report(p)
}

// resolve follows aliases. The depth of the settings bounds how often.
func resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode && n.Alias != nil {
		n = n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
