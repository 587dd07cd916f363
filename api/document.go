package api

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"

	"kith/api/reference"
)

// humaConfig is the frame of the OpenAPI document, and how bodies are read and written.
func humaConfig(version string) huma.Config {
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title:   "Kith",
				Version: version,
				Description: "Real-time messaging over MQTT; this is its REST side. " +
					"Times are Unix milliseconds. Lists are pages; hand next back as cursor. " +
					"Refusals are RFC 9457 problems with Kith's error codes.",
			},
			Servers: []*huma.Server{{URL: "/", Description: "This server."}},
			Tags: []*huma.Tag{
				{Name: "messages", Description: "History and sending."},
				{Name: "peers", Description: "Presence, devices and offline queues."},
				{Name: "moving", Description: "Export and import."},
				{Name: "groups", Description: "Named sets of peers."},
				{Name: "bans", Description: "Who is kept out."},
				{Name: "signatures", Description: "Proofs for clients."},
				{Name: "operators", Description: "For those who run the server."},
				{Name: "health", Description: "For those who watch it."},
			},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"basic":  {Type: "http", Scheme: "basic", Description: "An app's own server: app_id:master_key."},
					"bearer": {Type: "http", Scheme: "bearer", Description: "An operator's token."},
				},
			},
		},
		// "json" is what huma looks for under application/…+json.
		Formats:                      map[string]huma.Format{"application/json": strictJSON(), "json": strictJSON()},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
	}
}

// strictJSON reads only JSON that is valid UTF-8, where encoding/json would put replacement characters. Unknown fields huma refuses.
func strictJSON() huma.Format {
	return huma.Format{
		Marshal: func(w io.Writer, v any) error {
			enc := json.NewEncoder(w)
			enc.SetEscapeHTML(false)
			return enc.Encode(v)
		},
		Unmarshal: func(data []byte, v any) error {
			if !utf8.Valid(data) {
				return malformed("the body is not UTF-8")
			}
			return json.Unmarshal(data, v)
		},
	}
}

// problemSchema is the reference to Problem in the document.
func (s *Server) problemSchema() *huma.Schema {
	return s.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Problem](), true, "")
}

// routeDocument serves the OpenAPI document as it is when all operations are registered, and the page that is made of it.
func (s *Server) routeDocument(r chi.Router) {
	openAPI, err := json.Marshal(s.huma.OpenAPI())
	var page []byte
	if err == nil {
		page, err = reference.Page(openAPI)
	}
	if err != nil { // of types that are in the program
		panic(fmt.Errorf("describe the API: %w", err))
	}
	r.Get("/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/openapi+json")
		_, _ = w.Write(openAPI) // the caller has gone
	})
	r.Get("/docs", reference.ServePage(page))
	r.Get("/docs/style.css", reference.ServeStyle)
}
