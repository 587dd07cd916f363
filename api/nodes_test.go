package api_test

import (
	"errors"
	"testing"

	"kith/api"
)

func TestOperatorsSeeTheNode(t *testing.T) {
	s := start(t, func(o *api.Options) { o.Version = "1.2.3" })
	s.open("alice")
	var page list[struct {
		Name     string `json:"name"`
		Version  string `json:"version"`
		Started  int64  `json:"started"`
		Sessions int64  `json:"sessions"`
		Ready    bool   `json:"ready"`
		Draining bool   `json:"draining"`
	}]
	s.call(viewer, "GET", "/v1/nodes", nil).ok(200, &page)
	if len(page.Items) != 1 || page.Next != "" {
		t.Fatalf("%+v", page)
	}
	if n := page.Items[0]; n.Name != "kith-1" || n.Version != "1.2.3" || n.Started == 0 || n.Started > now() || n.Sessions != 1 || !n.Ready {
		t.Errorf("%+v", n)
	}
	s.call(demo, "GET", "/v1/nodes", nil).refused(403, 4119)
	s.call("", "GET", "/v1/nodes", nil).refused(401, 4118)

	down := start(t)
	down.store.away = errors.New("gone")
	down.call(viewer, "GET", "/v1/nodes", nil).ok(200, &page)
	if page.Items[0].Ready {
		t.Error("ready without a store")
	}
}
