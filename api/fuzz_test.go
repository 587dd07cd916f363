package api_test

import (
	"encoding/json"
	"strings"
	"testing"
)

// FuzzRequestBody sends any bytes to every operation that takes a body: each is answered as documented, and none is
// the server's fault.
func FuzzRequestBody(f *testing.F) {
	targets := []struct{ method, path string }{
		{"POST", "/v1/apps/demo/messages"},
		{"POST", "/v1/apps/demo/peers/status"},
		{"POST", "/v1/apps/demo/signatures"},
		{"PUT", "/v1/apps/demo/bans/mallory"},
		{"POST", "/v1/apps/demo/groups"},
		{"PATCH", "/v1/apps/demo/groups/fuzz"},
	}
	for i := range targets {
		for _, seed := range []string{
			``, `{}`, `null`, `[]`, `{`, `"x"`, `1e999`, `{"from":"a","to":["b"],"message":"x"}`, `{"from":"a","to":["b"],"data":"AP8="}`,
			`{"from":"a","to":null,"group":"g","message":null,"data":null}`, `{"peers":["a","\ud800"]}`, `{"peer":"1","watch":["2"]}`,
			`{"peer":"1","group":"g","peers":["2"],"action":"kick"}`, `{"until":9999999999999,"reason":"r"}`, `{"until":1e30}`,
			`{"id":"fuzz","name":"n","attributes":{"a":1},"members":["a"]}`, `{"attributes":{"a":null}}`, `{"open":true,"members":["a"]}`,
			`{"from":"a","from":"b","to":["b"],"message":"x"}`, strings.Repeat("[", 9000), "{\"from\":\"\xff\"}",
		} {
			f.Add(uint8(i), seed)
		}
	}
	s := start(f)
	f.Fuzz(func(t *testing.T, target uint8, body string) {
		s.TB = t
		to := targets[int(target)%len(targets)]
		a := s.call(demo, to.method, to.path, body)
		if a.Code >= 500 {
			t.Errorf("%s %q: %d %s", to.path, body, a.Code, a.Body)
		}
		if !json.Valid(a.Body.Bytes()) {
			t.Errorf("%s %q: %s", to.path, body, a.Body)
		}
	})
}
