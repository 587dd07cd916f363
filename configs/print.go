package configs

import (
	"fmt"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// Mask stands for a secret in what is printed.
const Mask = "********"

// Masked returns a copy of c with every secret that is set replaced by [Mask].
func (c *Config) Masked() *Config {
	copied := *c
	copied.Apps = append(copied.Apps[:0:0], c.Apps...)
	copied.API.Operators = append(copied.API.Operators[:0:0], c.API.Operators...)
	for _, f := range copied.fields() {
		if s, ok := f.value.(*string); ok && f.option.secret && *s != "" {
			*s = Mask
		}
	}
	return &copied
}

// YAML writes the settings as a file that Load reads back, secrets included.
func (c *Config) YAML() ([]byte, error) {
	text, err := yaml.Dump(c.node(tree(), "", 0))
	if err != nil {
		return nil, fmt.Errorf("write settings: %w", err)
	}
	return text, nil
}

// node builds the YAML of the keys below k, in the order of the options.
func (c *Config) node(k *key, prefix string, item int) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	written := map[string]bool{}
	for i := range options {
		rest, under := strings.CutPrefix(options[i].key, prefix)
		if !under {
			continue
		}
		name, _, _ := strings.Cut(rest, ".")
		name, _ = strings.CutSuffix(name, "[]")
		if written[name] {
			continue
		}
		written[name] = true
		below := k.below[name]
		var value *yaml.Node
		switch {
		case below.option != nil:
			value = valueNode(below.option.at(c, item))
		case below.list != "":
			value = &yaml.Node{Kind: yaml.SequenceNode}
			for j := range lists[below.list].length(c) {
				value.Content = append(value.Content, c.node(below, prefix+name+"[].", j))
			}
		default:
			value = c.node(below, prefix+name+".", item)
		}
		n.Content = append(n.Content, scalar("!!str", name, 0), value)
	}
	return n
}

func valueNode(ptr any) *yaml.Node {
	switch p := ptr.(type) {
	case *[]string:
		n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for _, s := range *p {
			n.Content = append(n.Content, scalar("!!str", s, yaml.DoubleQuotedStyle))
		}
		return n
	case *string:
		return scalar("!!str", *p, yaml.DoubleQuotedStyle)
	case *bool:
		return scalar("!!bool", format(p), 0)
	case *int:
		return scalar("!!int", format(p), 0)
	case *float64:
		return scalar("!!float", format(p), 0)
	case *time.Duration:
		return scalar("!!str", format(p), 0)
	case reserved:
		if p == "webhooks" {
			return &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		}
		return &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
	default:
		return scalar("!!null", "", 0)
	}
}

func scalar(tag, value string, style yaml.Style) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value, Style: style}
}
