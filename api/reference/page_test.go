package reference_test

import (
	"html"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"kith/api/reference"
)

const sample = `{
  "info": {"title": "Kith", "version": "1"},
  "tags": [{"name": "peers", "description": "Who <i>is</i> there."}],
  "paths": {"/v1/{app}/peers/{peer}": {"put": {
    "operationId": "put-peer", "summary": "Put", "description": "One.\n\nTwo.", "tags": ["peers"], "security": [{"bearer": []}],
    "parameters": [
      {"name": "app", "in": "path", "required": true, "schema": {"type": "string", "examples": ["demo"]}},
      {"name": "peer", "in": "path", "required": true, "schema": {"type": "string", "examples": ["a&b c"]}},
      {"name": "limit", "in": "query", "schema": {"type": "integer", "default": 100, "minimum": 1, "maximum": 1000, "examples": [5]}}],
    "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Body"}, "example": {"name": "it's"}}}},
    "responses": {
      "200": {"description": "Done.", "content": {"application/json": {"schema": {"type": "array", "items": {"$ref": "#/components/schemas/Body"}}, "example": []}}},
      "404": {"description": "nobody"}}}}},
  "components": {
    "schemas": {"Body": {"type": "object", "required": ["name"], "properties": {
      "name": {"type": "string", "enum": ["a", "b"]}, "next": {"$ref": "#/components/schemas/Body"}}}},
    "securitySchemes": {"bearer": {"scheme": "bearer", "description": "An operator."}}}}`

func TestThePageShowsACall(t *testing.T) {
	page, err := reference.Page([]byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`curl -H "Authorization: Bearer $TOKEN" -X PUT "$KITH/v1/demo/peers/a&b%20c" \` + "\n" +
			`  -H 'Content-Type: application/json' --data-binary '{"name":"it'\''s"}'`,
		`<p>One.</p>`, `<p>Two.</p>`, `default 100`, `at least 1`, `at most 1000`, `one of "a", "b"`,
		`<code>next.next.name</code>`, `<code>[].name</code>`, `<a href="#put-peer">`, `<h3 id="put-peer">`, `nobody`,
	} {
		if text := html.UnescapeString(string(page)); !strings.Contains(text, want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
	if strings.Contains(string(page), "<i>") {
		t.Error("text is taken for HTML")
	}
}

func TestWhatIsNoDocumentHasNoPage(t *testing.T) {
	if _, err := reference.Page([]byte(`{"tags": 7}`)); err == nil {
		t.Error("a page of nothing")
	}
}

func TestThePageMayLoadItsStyleAlone(t *testing.T) {
	w := httptest.NewRecorder()
	reference.ServePage([]byte("page"))(w, httptest.NewRequest(http.MethodGet, "/docs", http.NoBody))
	if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'; style-src 'self';") {
		t.Errorf("policy %q", csp)
	}
	style := httptest.NewRecorder()
	reference.ServeStyle(style, httptest.NewRequest(http.MethodGet, "/docs/style.css", http.NoBody))
	if strings.Contains(style.Body.String(), "url(") || strings.Contains(style.Body.String(), "@import") {
		t.Error("the style sheet loads something")
	}
}
