package configs

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Variables of the program that are no settings.
const (
	EnvConfig    = "KITH_CONFIG"     // the file, where --config is not given
	EnvMasterKey = "KITH_MASTER_KEY" // the app's master key, for the client commands
	EnvAPI       = "KITH_API"        // the server's REST, for the client commands
	EnvToken     = "KITH_TOKEN"      // an operator's token, for the client commands
)

const envPrefix = "KITH_"

// isTools reports whether a variable is for the commands and no setting.
func isTools(name string) bool {
	switch name {
	case EnvConfig, EnvMasterKey, EnvAPI, EnvToken:
		return true
	}
	return false
}

// envName is the variable of a key: KITH_STORE_ENGINE, KITH_APPS_0_MASTER_KEY.
func envName(key string) string {
	return envPrefix + strings.ToUpper(strings.NewReplacer(".", "_", "[", "_", "]", "").Replace(key))
}

// envPattern is envName with # for the number of an item.
func envPattern(o *option) string { return envName(strings.Replace(o.key, "[]", "[#]", 1)) }

// foreign reports whether a variable is one that Kubernetes sets in every pod beside a service named kith.
func foreign(name string) bool {
	return name == "KITH_PORT" || strings.HasPrefix(name, "KITH_PORT_") || strings.HasPrefix(name, "KITH_SERVICE_")
}

// readEnv applies the KITH_… variables of environ, given as os.Environ gives them.
func (l *loader) readEnv(environ []string) {
	known := map[string]*option{}
	for i := range options {
		known[envPattern(&options[i])] = &options[i]
	}
	var overrides []override
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, envPrefix) || isTools(name) || foreign(name) {
			continue
		}
		pattern, item := splitItem(name)
		o := known[pattern]
		if o == nil {
			l.unknownVariable(name, known)
			continue
		}
		overrides = append(overrides, override{o, item, name, value})
	}
	// Items in order, so that KITH_APPS_1_… finds the item that KITH_APPS_0_… added.
	slices.SortFunc(overrides, func(a, b override) int {
		if a.item != b.item {
			return a.item - b.item
		}
		return strings.Compare(a.source, b.source)
	})
	for _, o := range overrides {
		l.apply(o)
	}
}

// splitItem takes the number out of KITH_APPS_0_ID: KITH_APPS_#_ID and 0.
func splitItem(name string) (pattern string, item int) {
	parts := strings.Split(name, "_")
	for i, part := range parts {
		if n, err := strconv.Atoi(part); err == nil && n >= 0 && strconv.Itoa(n) == part {
			parts[i], item = "#", n
			break
		}
	}
	return strings.Join(parts, "_"), item
}

func (l *loader) unknownVariable(name string, known map[string]*option) {
	pattern, item := splitItem(name)
	names := []string{EnvConfig}
	for k := range known {
		names = append(names, k)
	}
	slices.Sort(names)
	text := "no setting has this variable"
	if near := nearest(pattern, names); near != "" {
		text += fmt.Sprintf("; did you mean %s?", strings.Replace(near, "#", strconv.Itoa(item), 1))
	}
	l.report(Problem{Source: name, Text: text})
}
