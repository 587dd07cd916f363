package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"kith/api/archive"
	"kith/broker"
)

// ImportInput is a stream of records.
type ImportInput struct {
	AppPath
	request huma.Context
}

// Resolve keeps the request: its body is read as it comes.
func (in *ImportInput) Resolve(ctx huma.Context) []error {
	in.request = ctx
	return nil
}

// Imported tells what became of an import.
type Imported struct {
	Records  int           `json:"records" doc:"Records that were read." example:"1204"`
	Messages int           `json:"messages" doc:"Messages that are new in history; each was read again and found as it came." example:"1180"`
	Groups   int           `json:"groups" doc:"Groups that were made." example:"4"`
	Members  int           `json:"members" doc:"Members that joined." example:"17"`
	Present  int           `json:"present" doc:"Records of which everything was there already." example:"2"`
	Ignored  int           `json:"ignored" doc:"Records of an export that are not for importing: peer, device, event." example:"0"`
	Refused  []RefusedLine `json:"refused" nullable:"false" doc:"Records that could not be taken, at most 1,000."`
	Next     int           `json:"next,omitempty" doc:"The line to go on with: so many were refused that the rest was not read." example:"88120"`
}

// RefusedLine says why a record could not be taken.
type RefusedLine struct {
	Line   int    `json:"line" doc:"Where it begins, from 1." example:"17"`
	Reason string `json:"reason" doc:"What is wrong with it." example:"msg-id is missing"`
}

func importedOf(r archive.Result) Imported {
	out := Imported{
		Records: r.Records, Messages: r.Messages, Groups: r.Groups, Members: r.Members, Present: r.Present, Ignored: r.Ignored,
		Refused: make([]RefusedLine, 0, len(r.Refused)), Next: r.Next,
	}
	for _, x := range r.Refused {
		out.Refused = append(out.Refused, RefusedLine(x))
	}
	return out
}

func (s *Server) registerImport() {
	register(s, operation{
		id: "import", method: http.MethodPost, path: "/v1/apps/{app}/import", tag: "moving", role: RoleAdmin,
		summary: "Import history and groups",
		description: "Takes an export of Kith, message records as the original service's history calls return them, and rows of its tables of groups and " +
			"conversations, as NDJSON or a JSON array, each at most 1 MB, however many. Messages keep their time, and go into history alone: they are " +
			"delivered to nobody. What is there already is left as it is, so the same may be sent again, also after a failure. A record that cannot be " +
			"taken is told by its line.",
		problems: []*Problem{errCutBody}, long: true, records: true,
		answer: Imported{Records: 1204, Messages: 1180, Groups: 4, Members: 17, Present: 2, Refused: []RefusedLine{{17, "msg-id is missing"}}},
	}, func(_ context.Context, in *ImportInput) (*Answer[Imported], error) {
		leave, err := s.beginTransfer(in.app())
		if err != nil {
			return nil, err
		}
		defer leave()
		t, end := s.transfer(in.request)
		defer end()
		result, err := archive.Import(t.ctx, s.broker, in.app(), archive.NewReader(t))
		if err != nil {
			if errors.Is(err, archive.ErrStream) {
				return nil, errCutBody
			}
			return nil, err
		}
		return answer(importedOf(result)), nil
	})
}

var errCutBody = statusProblem(http.StatusBadRequest, "the body ended early, or nothing came for a minute; send it again from its beginning")

var _ archive.Target = (*broker.Broker)(nil)
