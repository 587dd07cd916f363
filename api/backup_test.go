package api_test

import (
	"context"
	"errors"
	"io"
	"testing"

	"kith/api"
)

func TestABackupIsForAdminsOfAllApps(t *testing.T) {
	s := start(t, func(o *api.Options) {
		o.Backup = func(_ context.Context, w io.Writer) error {
			_, err := io.WriteString(w, "the store")
			return err
		}
		o.Config.Operators = append(o.Config.Operators, api.Operator{Name: "half", Token: "half-token", Role: api.RoleAdmin, Apps: []string{"demo"}})
	})
	for who, code := range map[string]int{demo: 4119, operator: 4119, viewer: 4119, "half-token": 4119} {
		s.call(who, "GET", "/v1/backup", nil).refused(403, code)
	}
	s.call("", "GET", "/v1/backup", nil).refused(401, 4118)
	if got := s.call(admin, "GET", "/v1/backup", nil).ok(200, nil).Body.String(); got != "the store" {
		t.Errorf("the backup: %q", got)
	}
	start(t).call(admin, "GET", "/v1/backup", nil).refused(501, 501)
}

func TestABackupThatCannotBeginIsRefused(t *testing.T) {
	s := start(t, func(o *api.Options) {
		o.Backup = func(context.Context, io.Writer) error { return errors.New("the disk is gone") }
	})
	s.call(admin, "GET", "/v1/backup", nil).refused(503, 4200)
}
