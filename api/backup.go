package api

import (
	"context"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"kith/broker"
)

const tarball = "application/x-tar"

// errNoBackup answers where the store is not the node's own.
var errNoBackup = statusProblem(http.StatusNotImplemented, "the store is in Redis: back it up as Redis's manual says")

func (s *Server) registerBackup() {
	register(s, operation{
		id: "backup", method: http.MethodGet, path: "/v1/backup", tag: "operators", role: RoleAdmin,
		summary: "Back up the store",
		description: "A tar file with the whole store as it is at one moment of the call, with all that was acknowledged before, for kith restore. It ends with " +
			"the sums of its files: one that does not is not whole. For admins of all apps. The settings are not in it.",
		problems: []*Problem{errNoBackup},
		stream:   tarball, answer: "store/000012.sst …",
	}, func(ctx context.Context, _ *struct{}) (*huma.StreamResponse, error) {
		if !slices.Contains(callerOf(ctx).operator.apps, AllApps) {
			return nil, problem(broker.Forbidden, "this takes an admin of all apps")
		}
		if s.backup == nil {
			return nil, errNoBackup
		}
		return s.download(tarball, func(t *transfer) error { return s.backup(t.ctx, t) }), nil
	})
}
