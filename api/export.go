package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"kith/api/archive"
	"kith/broker"
)

const ndjson = "application/x-ndjson"

// ExportInput selects what is exported.
type ExportInput struct {
	AppPath
	Peer    string `query:"peer" doc:"One peer alone: direct messages it sent or received, group messages it sent." example:"u1234"`
	Since   int64  `query:"since" minimum:"0" doc:"Messages not before this time, Unix milliseconds." example:"1416290728000"`
	Until   int64  `query:"until" minimum:"0" doc:"Messages before this time, Unix milliseconds." example:"1416377128000"`
	Records string `query:"records" enum:"messages,all" default:"messages" doc:"all: first the app's groups and their members, or, with peer, what is known of the peer, its devices, groups and events." example:"all"`
}

func (in *ExportInput) query() (q archive.Query, err error) {
	q.Since, q.Until, q.Whole = in.Since, in.Until, in.Records == "all"
	if in.Peer != "" {
		q.Peer, err = parsePeer("query.peer", in.Peer)
	}
	return q, err
}

const exportExample = `{"type":"group","group":"team","name":"Team","open":false,"creator":"u1234","created":1416290728000,"attributes":{}}
{"type":"member","group":"team","peer":"u1234","joined":1416290728000}
{"id":"054s30bo800000000000","conversation":"bcd26a54e98687390b0abb4d83683d4b","from":"u1234","to":["u0988"],"ts":1416290728000,"message":"hello"}
`

func (s *Server) registerExport() {
	register(s, operation{
		id: "export", method: http.MethodGet, path: "/v1/apps/{app}/export", tag: "moving", role: RoleViewer,
		summary: "Export history",
		description: "NDJSON, a record a line: messages as history shows them, oldest first, up to the newest of when the call came, with what else is " +
			"kept of them (original_id, device, qos, receipt, properties). With records=all before them lines with a type: group and member, or, " +
			"with peer, peer, device, member and event. An export that fails is cut short: only a whole answer is a whole export.",
		errors: []broker.Code{broker.InvalidPeer},
		stream: ndjson, answer: exportExample,
	}, func(_ context.Context, in *ExportInput) (*huma.StreamResponse, error) {
		q, err := in.query()
		if err != nil {
			return nil, err
		}
		leave, err := s.beginTransfer(in.app())
		if err != nil {
			return nil, err
		}
		return s.download(ndjson, func(t *transfer) error {
			defer leave()
			return archive.Export(t.ctx, s.broker, in.app(), q, t)
		}), nil
	})
}
