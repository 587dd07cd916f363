package api

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"kith/broker"
)

// Config is this package's part of the settings (spec 12).
type Config struct {
	Operators []Operator    `yaml:"operators"`
	Metrics   MetricsConfig `yaml:"metrics"`
	Audit     AuditConfig   `yaml:"audit"`
}

// DefaultConfig returns the defaults: no operators.
func DefaultConfig() Config { return Config{Audit: AuditConfig{Age: 90 * 24 * time.Hour}} }

// MetricsConfig says who may read /metrics.
type MetricsConfig struct {
	Public bool `yaml:"public"` // without an operator token
}

// Operator is somebody who runs Kith, or a program of theirs.
type Operator struct {
	Name  string `yaml:"name"` // for logs
	Token string `yaml:"token"`
	// TokenHash stands in place of Token, so that who reads the settings cannot use it: "sha256:" and 64 hex digits. A token that was made
	// by chance has no dictionary to try, so one round of SHA-256 is enough, and a login costs no more than that.
	TokenHash string   `yaml:"token_hash"`
	Role      Role     `yaml:"role"`
	Apps      []string `yaml:"apps"` // app ids, or AllApps

	Requests broker.RequestsConfig `yaml:"requests"` // how often it may ask
}

// AllApps in Operator.Apps means every app, those to come too.
const AllApps = "*"

// LogValue keeps the token out of logs.
func (o Operator) LogValue() slog.Value {
	return slog.GroupValue(slog.String("name", o.Name), slog.String("role", string(o.Role)), slog.Any("apps", o.Apps))
}

// Role is what an operator may do. Each role may do what those before it may.
type Role string

// The roles of spec 11.
const (
	RoleViewer   Role = "viewer"   // read
	RoleOperator Role = "operator" // also send, kick, ban, empty queues, make and change groups
	RoleAdmin    Role = "admin"    // everything
)

// rank orders roles; 0 is none.
func (r Role) rank() int {
	return slices.Index([]Role{RoleViewer, RoleOperator, RoleAdmin}, r) + 1
}

// allows reports whether somebody of role r may do what asks for need.
func (r Role) allows(need Role) bool { return r.rank() > 0 && r.rank() >= need.rank() }

// Validate reports everything that is wrong, joined, each as "path: problem". No token is quoted.
func (c *Config) Validate() error {
	var problems []error
	report := func(path, format string, args ...any) {
		problems = append(problems, fmt.Errorf("%s: %s", path, fmt.Sprintf(format, args...)))
	}
	for i, o := range c.Operators {
		path := fmt.Sprintf("operators[%d].", i)
		earlier := c.Operators[:i]
		switch {
		case o.Name == "":
			report(path+"name", "is missing")
		case slices.ContainsFunc(earlier, func(e Operator) bool { return e.Name == o.Name }):
			report(path+"name", "%q is used twice", o.Name)
		}
		switch {
		case o.Token == "" && o.TokenHash == "":
			report(path+"token", "is missing")
		case o.Token == "":
			if _, err := ParseTokenHash(o.TokenHash); err != nil {
				report(path+"token_hash", "%s", err)
			}
		case strings.ContainsFunc(o.Token, func(r rune) bool { return r <= ' ' || r > '~' }):
			report(path+"token", "must be printable ASCII without spaces, as it travels in a header")
		case slices.ContainsFunc(earlier, func(e Operator) bool { return e.Token == o.Token }):
			report(path+"token", "is another operator's too")
		}
		if o.Role.rank() == 0 {
			report(path+"role", "is %q, not viewer, operator or admin", o.Role)
		}
		if len(o.Apps) == 0 {
			report(path+"apps", "is empty: name the apps, or %q for all", AllApps)
		}
		for j, app := range o.Apps {
			if _, ok := broker.ParseAppID(app); !ok && app != AllApps {
				report(fmt.Sprintf("%sapps[%d]", path, j), "%q is not an app id", app)
			}
		}
	}
	return errors.Join(problems...)
}
