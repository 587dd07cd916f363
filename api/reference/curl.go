package reference

import (
	"bytes"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
)

// curl is a call to paste into a shell, in which KITH, KEY and TOKEN are set.
func (d *document) curl(method, path string, op *operation) string {
	words := []string{"curl"}
	switch {
	case accepts(op, "basic"):
		words = append(words, `-u "demo:$KEY"`)
	case accepts(op, "bearer"):
		words = append(words, `-H "Authorization: Bearer $TOKEN"`)
	}
	if method != "get" && (method != "post" || op.RequestBody == nil) {
		words = append(words, "-X", strings.ToUpper(method))
	}
	for media := range op.Responses["200"].Content {
		if media == "text/event-stream" {
			words = append(words, "-N")
		}
	}
	words = append(words, `"$KITH`+d.filled(path, op)+`"`)
	if op.RequestBody != nil {
		for media, m := range op.RequestBody.Content {
			words = append(words, "\\\n  -H", "'Content-Type: "+media+"'", "--data-binary", bodyWord(media, m.Example))
		}
	}
	return strings.Join(words, " ")
}

func accepts(op *operation, name string) bool {
	return slices.ContainsFunc(op.Security, func(way map[string][]string) bool { _, ok := way[name]; return ok })
}

// filled is the path with the parameters' examples, and those of the query that must be there.
func (d *document) filled(path string, op *operation) string {
	query := url.Values{}
	for _, p := range op.Parameters {
		s := d.resolve(p.Schema)
		if len(s.Examples) == 0 {
			continue
		}
		switch example := exampleText(s.Examples[0]); {
		case p.In == "path":
			path = strings.ReplaceAll(path, "{"+p.Name+"}", url.PathEscape(example))
		case p.In == "query" && p.Required:
			query.Set(p.Name, example)
		}
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return path
}

// bodyWord quotes a body for a shell; what is not JSON comes from a file.
func bodyWord(media string, example json.RawMessage) string {
	var b bytes.Buffer
	if media != "application/json" || json.Compact(&b, example) != nil {
		return "@records.ndjson"
	}
	return "'" + strings.ReplaceAll(b.String(), "'", `'\''`) + "'"
}
