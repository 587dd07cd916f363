package configs

import (
	"fmt"
	"strings"
)

// field is an option of one Config: of each item, for those of a list.
type field struct {
	path   string // "apps[0].queue.age"
	option *option
	value  any // a pointer into the Config
}

func (c *Config) fields() []field {
	var all []field
	for i := range options {
		o := &options[i]
		name := o.list()
		if name == "" {
			all = append(all, field{o.key, o, o.at(c, 0)})
			continue
		}
		for item := range lists[name].length(c) {
			path := strings.Replace(o.key, "[]", fmt.Sprintf("[%d]", item), 1)
			all = append(all, field{path, o, o.at(c, item)})
		}
	}
	return all
}

// Setting describes one setting for help texts and flags.
type Setting struct {
	Key     string // "listen.mqtt", "apps[].queue.age"
	Env     string // "KITH_LISTEN_MQTT", "KITH_APPS_0_QUEUE_AGE"
	Default string
	Doc     string
	Secret  bool
	List    bool // it belongs to the items of a list
}

// Settings describes all settings in the order of spec 12, with the defaults of a node that has a file.
func Settings() []Setting {
	c := Default()
	for _, list := range lists {
		list.grow(c)
	}
	all := make([]Setting, 0, len(options))
	for i := range options {
		o := &options[i]
		all = append(all, Setting{
			Key: o.key, Env: envName(strings.Replace(o.key, "[]", "[0]", 1)), Default: format(o.at(c, 0)),
			Doc: o.doc, Secret: o.secret, List: o.list() != "",
		})
	}
	return all
}

// Get returns a value in the form that Set takes, or "" where there is no such key.
func (c *Config) Get(key string) string {
	for _, f := range c.fields() {
		if f.path == key {
			return format(f.value)
		}
	}
	return ""
}

// Set changes one value, given as in an environment variable. It checks the value's form alone; see [Config.Validate].
func (c *Config) Set(key, value string) error {
	for _, f := range c.fields() {
		if f.path == key {
			if bad := parse(f.value, value); bad != "" {
				return fmt.Errorf("%s: %s", key, bad)
			}
			return nil
		}
	}
	return fmt.Errorf("%s: no such setting", key)
}
