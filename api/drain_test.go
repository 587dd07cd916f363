package api_test

import (
	"testing"

	"kith/api"
)

func TestNodeIsDrainedByAdminsOfAllApps(t *testing.T) {
	s := start(t, func(o *api.Options) {
		o.Config.Operators = append(o.Config.Operators, api.Operator{Name: "part", Token: "part-token", Role: api.RoleAdmin, Apps: []string{"demo"}})
	})
	s.call(viewer, "PUT", "/v1/nodes/kith-1/drain", nil).refused(403, 4119)
	s.call(demo, "PUT", "/v1/nodes/kith-1/drain", nil).refused(403, 4119)
	s.call("part-token", "PUT", "/v1/nodes/kith-1/drain", nil).refused(403, 4119)
	s.call(admin, "PUT", "/v1/nodes/kith-2/drain", nil).refused(404, 404)
	s.call(admin, "PUT", "/v1/nodes/kith-1/drain", nil).refused(409, 409) // there is no other
	var n api.Node
	s.call(admin, "DELETE", "/v1/nodes/kith-1/drain", nil).ok(200, &n)
	if !n.Ready || n.Draining {
		t.Errorf("%+v", n)
	}
}
