package api_test

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// openAPI31 is what the OpenAPI Initiative publishes at https://spec.openapis.org/oas/3.1/schema/2022-10-07.
//
//go:embed testdata/openapi-3.1-schema-2022-10-07.json
var openAPI31 []byte

// document is a server's OpenAPI document, whose schemas can be asked.
type document struct {
	raw      any
	compiler *jsonschema.Compiler
}

func readDocument(t testing.TB, raw []byte) *document {
	t.Helper()
	d := &document{raw: parseJSON(t, raw), compiler: jsonschema.NewCompiler()}
	d.compiler.DefaultDraft(jsonschema.Draft2020)
	if err := d.compiler.AddResource("kith:openapi.json", d.raw); err != nil {
		t.Fatal(err)
	}
	return d
}

func parseJSON(t testing.TB, raw []byte) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("%v in %.200s", err, raw)
	}
	return v
}

// at returns what stands at a path of keys in the document, nil where there is nothing.
func (d *document) at(keys ...string) any {
	v := d.raw
	for _, key := range keys {
		object, _ := v.(map[string]any)
		v = object[key]
	}
	return v
}

// check validates value against the schema at a path of keys. Compiling it checks the schema itself against JSON Schema's own.
func (d *document) check(value any, keys ...string) error {
	escape := strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D")
	pointer := "kith:openapi.json#"
	for _, key := range keys {
		pointer += "/" + escape.Replace(key)
	}
	schema, err := d.compiler.Compile(pointer)
	if err != nil {
		return err
	}
	return schema.Validate(value)
}

// The document is the same for every server; tests share it.
var documented struct {
	sync.Once
	*document
}

// checkDocumented checks that an answer under /v1 is one that the document announces: status, media type and schema.
func checkDocumented(s *server, r *http.Request, a *answer) {
	s.Helper()
	if !strings.HasPrefix(r.URL.Path, "/v1/") {
		return
	}
	documented.Do(func() { documented.document = readDocument(s, rawDocument(s)) })
	path, ok := routeOf(documented.document, r.URL.EscapedPath(), strings.ToLower(r.Method))
	if !ok {
		if a.Code != http.StatusNotFound && a.Code != http.StatusMethodNotAllowed {
			s.Errorf("%s is not documented and answered %d", a.what, a.Code)
		}
		return
	}
	at := []string{"paths", path, strings.ToLower(r.Method), "responses", strconv.Itoa(a.Code)}
	if documented.at(at...) == nil {
		s.Errorf("%s answered %d, which is not documented", a.what, a.Code)
		return
	}
	media := a.Header().Get("Content-Type")
	if documented.at(append(at, "content")...) == nil {
		if a.Body.Len() > 0 {
			s.Errorf("%s answered %d with a body, which is not documented", a.what, a.Code)
		}
		return
	}
	if media == "application/x-ndjson" || media == "application/x-tar" {
		return // no JSON as a whole; tests look at what is in it
	}
	if err := documented.check(parseJSON(s, a.Body.Bytes()), append(at, "content", media, "schema")...); err != nil {
		s.Errorf("%s answered %d, not as documented: %v\n%s", a.what, a.Code, err, a.Body)
	}
}

// routeOf finds the documented path that a request's path is of, the most literal first.
func routeOf(d *document, escaped, method string) (string, bool) {
	found, score := "", -1
	for path, item := range d.at("paths").(map[string]any) {
		if item.(map[string]any)[method] == nil {
			continue
		}
		want, have := strings.Split(path, "/"), strings.Split(escaped, "/")
		if len(want) != len(have) {
			continue
		}
		literal := 0
		for i := range want {
			if want[i] == have[i] {
				literal++
			} else if !strings.HasPrefix(want[i], "{") {
				literal = -1
				break
			}
		}
		if literal > score {
			found, score = path, literal
		}
	}
	return found, score >= 0
}

func rawDocument(s *server) []byte {
	s.Helper()
	return s.call("", "GET", "/openapi.json", nil).ok(200, nil).Body.Bytes()
}

func TestDocumentIsValidOpenAPI31(t *testing.T) {
	d := readDocument(t, rawDocument(start(t)))
	c := jsonschema.NewCompiler()
	if err := c.AddResource("openapi-3.1.json", parseJSON(t, openAPI31)); err != nil {
		t.Fatal(err)
	}
	official, err := c.Compile("openapi-3.1.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := official.Validate(d.raw); err != nil {
		t.Errorf("%#v", err)
	}
	for name := range d.at("components", "schemas").(map[string]any) {
		if _, err := d.compiler.Compile("kith:openapi.json#/components/schemas/" + name); err != nil {
			t.Errorf("schema %s: %v", name, err)
		}
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
			if op.RequestBody != nil {
				for media, content := range op.RequestBody.Content {
					if content.Example == nil {
						t.Errorf("%s: no example of the request as %s", where, media)
					}
				}
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

func TestExamplesFitTheirSchemas(t *testing.T) {
	d := readDocument(t, rawDocument(start(t)))
	checked := 0
	var walk func(v any, at []string)
	walk = func(v any, at []string) {
		object, _ := v.(map[string]any)
		for key, inner := range object {
			walk(inner, append(slices.Clip(at), key))
		}
		if object["schema"] == nil || at[len(at)-2] != "content" {
			return // not a media type
		}
		examples := map[string]any{"example": object["example"]}
		named, _ := object["examples"].(map[string]any)
		for name, e := range named {
			examples[name] = e.(map[string]any)["value"]
		}
		for name, e := range examples {
			if e == nil {
				continue
			}
			checked++
			if err := d.check(e, append(slices.Clip(at), "schema")...); err != nil {
				t.Errorf("%v: %s: %v", at, name, err)
			}
		}
	}
	walk(d.at("paths"), []string{"paths"})
	if checked < 100 {
		t.Errorf("only %d examples found", checked)
	}
}
