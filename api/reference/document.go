package reference

import (
	"encoding/json"
	"strings"
)

// document is what the page shows of an OpenAPI 3.1 document.
type document struct {
	Info  struct{ Title, Version, Description string }
	Tags  []struct{ Name, Description string }
	Paths map[string]map[string]operation

	Components struct {
		Schemas         map[string]*schema
		SecuritySchemes map[string]struct{ Scheme, Description string }
	}
}

type operation struct {
	OperationID, Summary, Description string

	Tags        []string
	Security    []map[string][]string
	Parameters  []parameter
	RequestBody *body
	Responses   map[string]body
}

type parameter struct {
	Name, In, Description string

	Required bool
	Schema   *schema
}

// body is a request's or an answer's.
type body struct {
	Description string
	Content     map[string]media
}

type media struct {
	Schema  *schema
	Example json.RawMessage
}

type schema struct {
	Ref         string `json:"$ref"`
	Type        types
	Description string
	Default     json.RawMessage
	Enum        []json.RawMessage
	Examples    []json.RawMessage
	Properties  map[string]*schema
	Required    []string
	Items       *schema

	Minimum, Maximum     *json.Number
	MinLength, MaxLength *int
	MinItems, MaxItems   *int
}

// types is one name of a type, or several.
type types []string

// UnmarshalJSON implements json.Unmarshaler.
func (t *types) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*t = types{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(t))
}

// resolve follows a reference to a named schema.
func (d *document) resolve(s *schema) *schema {
	if s == nil {
		return &schema{}
	}
	if named := d.Components.Schemas[strings.TrimPrefix(s.Ref, "#/components/schemas/")]; s.Ref != "" && named != nil {
		return named
	}
	return s
}
