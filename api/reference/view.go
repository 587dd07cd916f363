package reference

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// page is what the template shows.
type page struct {
	Title, Version, Description string

	Access   []access
	Sections []section
}

// access is a way to say who calls.
type access struct{ Name, About string }

type section struct {
	Name, About string

	Calls []call
}

type call struct {
	ID, Summary, Method, Path, Curl string

	About      []string // paragraphs
	Access     []string
	Parameters []field
	Request    *content // nil: none
	Answer     answer
	Refusals   []answer
}

type answer struct {
	Status, About string

	Content *content // nil: no body
}

// content is a body: its fields and an example.
type content struct {
	Media, Example string

	Fields []field
}

// methods are in the order of a section's calls on one path.
var methods = []string{"get", "post", "put", "patch", "delete"}

func (d *document) view() page {
	p := page{Title: d.Info.Title, Version: d.Info.Version, Description: d.Info.Description}
	for _, name := range slices.Sorted(maps.Keys(d.Components.SecuritySchemes)) {
		p.Access = append(p.Access, access{title(name), d.Components.SecuritySchemes[name].Description})
	}
	for _, tag := range d.Tags {
		s := section{Name: tag.Name, About: tag.Description}
		for _, path := range slices.Sorted(maps.Keys(d.Paths)) {
			for _, method := range methods {
				if op, ok := d.Paths[path][method]; ok && slices.Contains(op.Tags, tag.Name) {
					s.Calls = append(s.Calls, d.call(method, path, &op))
				}
			}
		}
		p.Sections = append(p.Sections, s)
	}
	return p
}

func (d *document) call(method, path string, op *operation) call {
	c := call{
		ID: op.OperationID, Summary: op.Summary, Method: strings.ToUpper(method), Path: path,
		About: strings.Split(op.Description, "\n\n"), Curl: d.curl(method, path, op),
	}
	for _, way := range op.Security {
		for name := range way {
			c.Access = append(c.Access, title(name))
		}
	}
	for _, p := range op.Parameters {
		f := d.field(p.Name, p.Schema, p.Required)
		f.About, f.In = p.Description, p.In
		c.Parameters = append(c.Parameters, f)
	}
	if op.RequestBody != nil {
		c.Request = d.content(op.RequestBody)
	}
	for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
		r := op.Responses[status]
		if status[0] == '2' {
			c.Answer = answer{status, r.Description, d.content(&r)}
		} else {
			c.Refusals = append(c.Refusals, answer{Status: status, About: r.Description})
		}
	}
	return c
}

// content shows the body in its one media type.
func (d *document) content(b *body) *content {
	for _, name := range slices.Sorted(maps.Keys(b.Content)) {
		m := b.Content[name]
		return &content{Media: name, Example: exampleText(m.Example), Fields: d.fields("", m.Schema, 0)}
	}
	return nil
}

// exampleText is an example as it goes over the wire, indented where that is JSON.
func exampleText(example json.RawMessage) string {
	var text string
	if json.Unmarshal(example, &text) == nil {
		return text
	}
	var b bytes.Buffer
	if json.Indent(&b, example, "", "  ") != nil {
		return string(example)
	}
	return b.String()
}

func title(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// field is a parameter, or a field of a body, whose name tells where in the body it is: items[].peer.
type field struct {
	Name, In, Type, About string

	Required bool
	Rules    []string
}

// maxDepth bounds how deep the fields of bodies are shown.
const maxDepth = 4

// fields are those below a schema, in the order of their names, each followed by its own.
func (d *document) fields(at string, s *schema, depth int) (all []field) {
	s = d.resolve(s)
	if s.Items != nil {
		return d.fields(at+"[]", s.Items, depth)
	}
	if depth == maxDepth {
		return nil
	}
	if at != "" {
		at += "."
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		of := s.Properties[name]
		all = append(all, d.field(at+name, of, slices.Contains(s.Required, name)))
		all = append(all, d.fields(at+name, of, depth+1)...)
	}
	return all
}

func (d *document) field(name string, s *schema, required bool) field {
	f := field{Name: name, Required: required, Type: d.typeOf(s)}
	if s = d.resolve(s); s.Description != "" {
		f.About = s.Description
	}
	add := func(text string, n any) { f.Rules = append(f.Rules, fmt.Sprintf(text, n)) }
	if len(s.Enum) > 0 {
		add("one of %s", bytes.Join(rawMessages(s.Enum), []byte(", ")))
	}
	if s.Default != nil {
		add("default %s", s.Default)
	}
	if s.Minimum != nil {
		add("at least %s", *s.Minimum)
	}
	if s.Maximum != nil {
		add("at most %s", *s.Maximum)
	}
	for _, limit := range []struct {
		text string
		n    *int
	}{
		{"at least %d characters", s.MinLength},
		{"at most %d characters", s.MaxLength},
		{"at least %d", s.MinItems},
		{"at most %d", s.MaxItems},
	} {
		if limit.n != nil {
			add(limit.text, *limit.n)
		}
	}
	return f
}

func rawMessages(list []json.RawMessage) (out [][]byte) {
	for _, m := range list {
		out = append(out, m)
	}
	return out
}

// typeOf names a type: "integer", "array of string".
func (d *document) typeOf(s *schema) string {
	s = d.resolve(s)
	name := strings.Join(s.Type, " or ")
	if s.Items != nil {
		return "array of " + d.typeOf(s.Items)
	}
	if name == "" {
		return "any"
	}
	return name
}
