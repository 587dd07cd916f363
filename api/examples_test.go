package api_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"kith/broker"
)

// What is documented for these cannot be called here: a stream without an end, and what a node alone refuses. Their own tests call them.
var calledElsewhere = []string{"live", "drain-node", "undrain-node", "backup"}

// exampleCall is what the document says of an operation.
type exampleCall struct {
	OperationID string
	Parameters  []struct {
		Name, In string
		Schema   struct{ Examples []any }
	}
	RequestBody struct {
		Content map[string]struct{ Example any }
	}
}

// Every call of the document can be made as its examples say, against a server that has what they speak of.
func TestEveryDocumentedExampleWorks(t *testing.T) {
	t.Parallel()
	var doc struct {
		Paths map[string]map[string]exampleCall
	}
	if err := json.Unmarshal(rawDocument(start(t)), &doc); err != nil {
		t.Fatal(err)
	}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			if slices.Contains(calledElsewhere, op.OperationID) {
				continue
			}
			t.Run(op.OperationID, func(t *testing.T) {
				s := start(t)
				id := s.exampleWorld(op.OperationID)
				at := op.path(path, id)
				s.exampleCall(method, at, &op)
				for _, p := range op.Parameters {
					if p.In == "query" && p.Name != "cursor" { // the cursor of another list
						s.exampleCall(method, at+"?"+url.Values{p.Name: {exampleText(p.Schema.Examples[0])}}.Encode(), &op)
					}
				}
			})
		}
	}
}

// exampleWorld makes what the examples speak of, but what the operation itself is to make; it returns the id of a message.
func (s *server) exampleWorld(operation string) string {
	s.Helper()
	alice := s.open("alice/phone", "bob")
	if operation == "erase-peer" {
		alice.End(broker.EndDisconnect, nil) // this client of the tests does not go by itself
	}
	id := s.send("u1234", "hello", "u0988")
	if operation != "create-group" {
		s.call(demo, "POST", "/v1/apps/demo/groups", sendBody{"id": "team", "members": []string{"alice", "bob", "u1234"}}).ok(200, nil)
	}
	if operation == "lift-ban" {
		s.call(demo, "PUT", "/v1/apps/demo/bans/alice", sendBody{}).ok(200, nil)
	}
	return id
}

func (op *exampleCall) path(path, message string) string {
	for _, p := range op.Parameters {
		if p.In == "path" {
			path = strings.ReplaceAll(path, "{"+p.Name+"}", url.PathEscape(exampleText(p.Schema.Examples[0])))
		}
	}
	return strings.ReplaceAll(path, exampleID, message)
}

// exampleID is the message's id in the document.
const exampleID = "054s30bo800000000000"

func (s *server) exampleCall(method, path string, op *exampleCall) {
	s.Helper()
	var body any
	for _, content := range op.RequestBody.Content {
		body = content.Example
	}
	if a := s.call(admin, strings.ToUpper(method), path, body); a.Code >= 300 {
		s.Errorf("%s answers %d: %s", a.what, a.Code, a.Body)
	}
}

// exampleText is an example as a path or a query has it.
func exampleText(example any) string {
	switch e := example.(type) {
	case []any:
		var parts []string
		for _, part := range e {
			parts = append(parts, fmt.Sprint(part))
		}
		return strings.Join(parts, ",")
	case float64:
		return fmt.Sprintf("%.0f", e)
	}
	return fmt.Sprint(example)
}
