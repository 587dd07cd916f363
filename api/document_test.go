package api_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
)

// documented is the OpenAPI document of a server, read by an OpenAPI library. It is the same for every server.
var documented struct {
	sync.Mutex
	validator validator.Validator
}

func documentValidator(t testing.TB, raw []byte) validator.Validator {
	t.Helper()
	doc, err := libopenapi.NewDocument(raw)
	if err != nil {
		t.Fatalf("read /openapi.json: %v", err)
	}
	v, errs := validator.NewValidator(doc)
	if len(errs) > 0 {
		t.Fatalf("read /openapi.json: %v", errs)
	}
	return v
}

// checkDocumented checks that an answer under /v1 is one that the document announces: status, media type and schema.
func checkDocumented(s *server, r *http.Request, a *answer) {
	s.Helper()
	if !strings.HasPrefix(r.URL.Path, "/v1/") {
		return
	}
	documented.Lock()
	defer documented.Unlock()
	if documented.validator == nil {
		documented.validator = documentValidator(s, rawDocument(s))
	}
	if a.Code == http.StatusNotFound && strings.Contains(a.Body.String(), "nothing at this path") || a.Code == http.StatusMethodNotAllowed {
		return
	}
	response := &http.Response{
		StatusCode: a.Code, Header: a.Header(), Request: r, Body: io.NopCloser(bytes.NewReader(a.Body.Bytes())),
	}
	if ok, errs := documented.validator.ValidateHttpResponse(r, response); !ok {
		for _, err := range errs {
			s.Errorf("%s answered %d, not as documented: %s: %s: %+v\n%s", a.what, a.Code, err.Message, err.Reason, err.SchemaValidationErrors, a.Body)
		}
	}
}

func rawDocument(s *server) []byte {
	s.Helper()
	return s.call("", "GET", "/openapi.json", nil).ok(200, nil).Body.Bytes()
}

func TestDocumentIsValidOpenAPI31(t *testing.T) {
	raw := rawDocument(start(t))
	v := documentValidator(t, raw)
	if ok, errs := v.ValidateDocument(); !ok {
		for _, err := range errs {
			t.Errorf("%s: %s: %+v", err.Message, err.Reason, err.SchemaValidationErrors)
		}
	}
	if !bytes.Contains(raw, []byte(`"openapi":"3.1.0"`)) {
		t.Error("not OpenAPI 3.1")
	}
}

type documentedOperation struct {
	OperationID string `json:"operationId"`
	Summary     string
	Description string
	Tags        []string
	Security    []map[string][]string
	Parameters  []struct {
		Name, Description string
		Schema            struct{ Examples []any }
	}
	RequestBody *struct {
		Content map[string]struct{ Example any }
	}
	Responses map[string]struct {
		Description string
		Content     map[string]struct {
			Example  any
			Examples map[string]any
		}
	}
}

func TestEveryOperationIsDescribed(t *testing.T) {
	var doc struct {
		Paths      map[string]map[string]documentedOperation
		Components struct {
			Schemas         map[string]any
			SecuritySchemes map[string]map[string]string
		}
	}
	raw := rawDocument(start(t))
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"basic", "bearer"} {
		if s := doc.Components.SecuritySchemes[name]; s["type"] != "http" || s["scheme"] != name {
			t.Errorf("security scheme %s is %v", name, s)
		}
	}
	ids := map[string]bool{}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			where := method + " " + path
			if op.OperationID == "" || ids[op.OperationID] {
				t.Errorf("%s: operationId %q is missing or used twice", where, op.OperationID)
			}
			ids[op.OperationID] = true
			if op.Summary == "" || op.Description == "" || len(op.Tags) != 1 || len(op.Security) == 0 {
				t.Errorf("%s is not described: %+v", where, op)
			}
			for _, p := range op.Parameters {
				if p.Description == "" || len(p.Schema.Examples) == 0 {
					t.Errorf("%s: parameter %s has no description or example", where, p.Name)
				}
			}
			if op.RequestBody != nil && op.RequestBody.Content["application/json"].Example == nil {
				t.Errorf("%s: no example of the request", where)
			}
			done := false
			for status, response := range op.Responses {
				done = done || status[0] == '2'
				if response.Description == "" {
					t.Errorf("%s: %s is not described", where, status)
				}
				for media, content := range response.Content {
					if content.Example == nil && len(content.Examples) == 0 {
						t.Errorf("%s: %s has no example of %s", where, status, media)
					}
					if status[0] == '4' && media != "application/problem+json" {
						t.Errorf("%s: %s is %s", where, status, media)
					}
				}
			}
			if !done {
				t.Errorf("%s: no answer is documented", where)
			}
			if strings.HasPrefix(path, "/v1") {
				for _, status := range []string{"400", "401", "403", "429", "500", "503"} {
					if _, ok := op.Responses[status]; !ok {
						t.Errorf("%s: %s is not documented", where, status)
					}
				}
			}
		}
	}
	if len(ids) < 18 {
		t.Errorf("only %d operations", len(ids))
	}
	if bytes.Contains(raw, []byte("$schema")) {
		t.Error("the document speaks of $schema")
	}
}

// The examples of requests must be taken by the server's own validation, which the fuzz target's seeds go through as well.
func TestExamplesFitTheirSchemas(t *testing.T) {
	s := start(t)
	v := documentValidator(t, rawDocument(s))
	var doc struct {
		Paths map[string]map[string]documentedOperation
	}
	if err := json.Unmarshal(rawDocument(s), &doc); err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("{app}", "demo", "{peer}", "alice", "{id}", "054s30bo800000000000", "{device}", "phone")
	for path, methods := range doc.Paths {
		for method, op := range methods {
			for status, response := range op.Responses {
				for media, content := range response.Content {
					examples := []any{content.Example}
					for _, e := range content.Examples {
						examples = append(examples, e.(map[string]any)["value"])
					}
					for _, e := range examples {
						if e == nil || media == "text/plain" {
							continue
						}
						body, _ := json.Marshal(e)
						r, _ := http.NewRequestWithContext(t.Context(), strings.ToUpper(method), "http://kith"+fill.Replace(path), http.NoBody)
						answer := &http.Response{
							StatusCode: atoi(t, status), Header: http.Header{"Content-Type": {media}}, Request: r,
							Body: io.NopCloser(bytes.NewReader(body)),
						}
						if ok, errs := v.ValidateHttpResponse(r, answer); !ok {
							t.Errorf("%s %s: example of %s: %s", method, path, status, errs[0])
						}
					}
				}
			}
		}
	}
}
