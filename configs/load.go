package configs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// Sources are where settings come from, in rising precedence.
type Sources struct {
	File    string   // a path; empty for none
	Environ []string // as os.Environ gives it
	Flags   []Flag   // in the order given
	// MakeDemo lets Load make the demo app's keys where there is no file and no app; else it only reads them.
	MakeDemo bool
}

// Flag is a setting from the command line.
type Flag struct {
	Name  string // as typed, for problems: "--listen-mqtt"
	Key   string // "listen.mqtt", "apps[0].queue.age"
	Value string
}

// Load gathers the settings from all sources and checks them. Its error is [Problems] when the settings are at fault.
func Load(s Sources) (*Config, error) {
	var data []byte
	if s.File != "" {
		var err error
		if data, err = os.ReadFile(s.File); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("there is no file %s; leave --config out to start without one", s.File)
		} else if err != nil {
			return nil, fmt.Errorf("read settings: %w", err)
		}
	}
	return load(s, data, s.File != "" && readableByOthers(s.File))
}

// Parse is Load with the content of the file in hand. s.File names it in problems.
func Parse(s Sources, data []byte) (*Config, error) { return load(s, data, false) }

func load(s Sources, data []byte, exposed bool) (*Config, error) {
	l := &loader{environ: s.Environ, exposed: exposed, config: WithoutFile(), places: map[string]place{}, bad: map[string]bool{}}
	if s.File != "" {
		l.config = Default()
		l.readFile(s.File, data)
	}
	l.readEnv(s.Environ)
	l.readFlags(s.Flags)
	if s.File == "" && len(l.config.Apps) == 0 && len(l.problems) == 0 {
		if err := l.addDemo(s.MakeDemo); err != nil {
			return nil, err
		}
	}
	if !l.unread {
		for _, p := range l.config.Validate() {
			l.locate(p)
		}
	}
	if len(l.problems) > 0 {
		l.problems.sort()
		return nil, l.problems
	}
	return l.config, nil
}

// loader is one Load under way.
type loader struct {
	environ  []string
	exposed  bool // others can read the file
	config   *Config
	places   map[string]place // where each key was last set; "" is the file
	bad      map[string]bool  // keys whose value did not parse: what is set is the default
	unread   bool             // the file is no YAML: what it would have set is unknown
	problems Problems
}

type place struct {
	source string
	line   int
}

func (l *loader) report(p Problem) { l.problems = append(l.problems, p) }

// locate adds to a problem of Validate where its key, or the nearest above it, was set.
func (l *loader) locate(p Problem) {
	if l.bad[p.Key] {
		return
	}
	for key := p.Key; ; key = parent(key) {
		if at, ok := l.places[key]; ok || key == "" {
			p.Source, p.Line = at.source, at.line
			break
		}
	}
	l.report(p)
}

// parent of apps[0].queue.age is apps[0].queue, of apps[0] apps, of apps "".
func parent(key string) string {
	return key[:max(strings.LastIndexAny(key, ".["), 0)]
}

// override is a value of an environment variable or a flag.
type override struct {
	option *option
	item   int
	source string
	value  string
}

func (l *loader) apply(o override) {
	path := strings.Replace(o.option.key, "[]", "["+strconv.Itoa(o.item)+"]", 1)
	if name := o.option.list(); name != "" {
		list := lists[name]
		switch length := list.length(l.config); {
		case o.item == length:
			list.grow(l.config)
			l.places[fmt.Sprintf("%s[%d]", name, o.item)] = place{source: o.source}
		case o.item > length:
			l.report(Problem{Key: path, Source: o.source, Text: fmt.Sprintf("there are %d %s; the next one is %s[%d]", length, name, name, length)})
			return
		}
	}
	l.places[path] = place{source: o.source}
	delete(l.bad, path)
	if bad := l.parse(o.option, o.option.at(l.config, o.item), o.value); bad != "" {
		if !o.option.secret {
			bad = quote(o.value) + ": " + bad
		}
		l.report(Problem{Key: path, Source: o.source, Text: bad})
		l.bad[path] = true
	}
}

var itemKey = regexp.MustCompile(`^([a-z]+)\[(\d{1,6})\]\.`)

// readFlags applies flags. Secrets are refused: other users of the machine can read a process's arguments.
func (l *loader) readFlags(flags []Flag) {
	for _, f := range flags {
		key, item := f.Key, 0
		if m := itemKey.FindStringSubmatch(key); m != nil {
			key = strings.Replace(key, "["+m[2]+"]", "[]", 1)
			item, _ = strconv.Atoi(m[2]) // at most six digits
		}
		o := find(key)
		switch {
		case o == nil:
			l.unknownFlag(f, key)
		case o.secret:
			l.report(Problem{Key: f.Key, Source: f.Name, Text: "a secret does not belong on the command line; use the file or " + envName(f.Key)})
		default:
			l.apply(override{o, item, f.Name, f.Value})
		}
	}
}

func (l *loader) unknownFlag(f Flag, key string) {
	var keys []string
	for _, o := range options {
		keys = append(keys, o.key)
	}
	p := Problem{Key: plainPath.FindString(f.Key), Source: f.Name, Text: "unknown key"}
	if near := nearest(key, keys); near != "" {
		p.Text += fmt.Sprintf("; did you mean %s?", strings.Replace(near, "[]", "[0]", 1))
	}
	l.report(p)
}

var plainPath = regexp.MustCompile(`^[A-Za-z0-9_.\[\]-]*`)

func find(key string) *option {
	for i := range options {
		if options[i].key == key {
			return &options[i]
		}
	}
	return nil
}
