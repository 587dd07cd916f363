package api_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kith/api"
)

func TestValidateReportsAllProblemsWithTheirPaths(t *testing.T) {
	c := api.Config{Operators: []api.Operator{
		{Name: "a", Token: "one", Role: api.RoleAdmin, Apps: []string{"*"}},
		{Name: "a", Token: "one", Role: "king", Apps: nil},
		{Token: "two words", Role: api.RoleViewer, Apps: []string{"demo", "no app"}},
		{Name: "d", Role: api.RoleOperator, Apps: []string{"demo"}},
	}}
	want := []string{
		`operators[1].name: "a" is used twice`,
		`operators[1].token: is another operator's too`,
		`operators[1].role: is "king", not viewer, operator or admin`,
		`operators[1].apps: is empty: name the apps, or "*" for all`,
		`operators[2].name: is missing`,
		`operators[2].token: must be printable ASCII without spaces, as it travels in a header`,
		`operators[2].apps[1]: "no app" is not an app id`,
		`operators[3].token: is missing`,
	}
	if diff := cmp.Diff(strings.Join(want, "\n"), c.Validate().Error()); diff != "" {
		t.Error(diff)
	}
	c.Operators = c.Operators[:1]
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
}

func TestAnOperatorsTokenIsNotLogged(t *testing.T) {
	var out bytes.Buffer
	slog.New(slog.NewTextHandler(&out, nil)).Info("operator", "who", api.Operator{Name: "ops", Token: "secret"})
	if s := out.String(); strings.Contains(s, "secret") || !strings.Contains(s, "ops") {
		t.Error(s)
	}
}
