package api

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"kith/broker"
)

// App is an app as operators see it: without its keys.
type App struct {
	App               broker.AppID `json:"app" doc:"The app's id." example:"demo"`
	SignatureRequired bool         `json:"signature_required" doc:"Whether sessions must be signed." example:"false"`
	RequireWatch      bool         `json:"require_watch" doc:"Whether sending takes watching." example:"true"`
	MessageBytes      int          `json:"message_bytes" doc:"How large a message may be, in bytes." example:"5120"`
	Topics            []string     `json:"topics" nullable:"false" doc:"What of {app}/topic/ peers may use." example:"[\"#\"]"`
}

// Stats counts what this node did since it started.
type Stats struct {
	Sessions     int64             `json:"sessions" doc:"Connections now." example:"42"`
	PeersOnline  int64             `json:"peers_online" doc:"Peers online now." example:"40"`
	Accepted     uint64            `json:"accepted" doc:"Persistent messages made durable." example:"1000"`
	Transient    uint64            `json:"transient" doc:"Transient messages." example:"20"`
	Delivered    uint64            `json:"delivered" doc:"Deliveries written to receivers." example:"1800"`
	Acknowledged uint64            `json:"acknowledged" doc:"Deliveries that receivers acknowledged." example:"1790"`
	Refused      map[string]uint64 `json:"refused" doc:"Refusals by error code."`
	Missed       uint64            `json:"missed" doc:"Messages that fell out of a full queue." example:"0"`
}

func (s *Server) registerApps() {
	register(s, operation{
		id: "list-apps", method: http.MethodGet, path: "/v1/apps", tag: "operators", role: RoleViewer,
		summary: "List apps", description: "The apps that the operator is given, in the order of their ids.",
		answer: Page[App]{Items: []App{{"demo", false, true, 5120, []string{}}}, Next: appList.cursor("demo")},
	}, func(ctx context.Context, in *PageQuery) (*Answer[Page[App]], error) {
		after, err := appList.last(in.Cursor)
		if err != nil {
			return nil, err
		}
		c := callerOf(ctx)
		var found []App
		for _, a := range s.broker.Apps() {
			if c.operator.sees(a.ID) && string(a.ID) > after {
				found = append(found, App{a.ID, a.Signature.Required, a.RequireWatch, a.MessageBytes, orEmpty(a.Topics)})
			}
		}
		slices.SortFunc(found, func(a, b App) int { return strings.Compare(string(a.App), string(b.App)) })
		return answer(pageOf(found, in.Limit, appList, func(a *App) string { return string(a.App) })), nil
	})
	register(s, operation{
		id: "get-stats", method: http.MethodGet, path: "/v1/stats", tag: "operators", role: RoleViewer,
		summary: "Read what a node did", description: "Counts of this node over all apps, since it started. They name no app and no peer.",
		answer: Stats{Sessions: 42, PeersOnline: 40, Accepted: 1000, Transient: 20, Delivered: 1800, Acknowledged: 1790, Refused: map[string]uint64{"4401": 2}},
	}, func(context.Context, *struct{}) (*Answer[Stats], error) {
		b := s.broker.Stats()
		stats := Stats{
			Sessions: b.Sessions, PeersOnline: b.PeersOnline, Accepted: b.Accepted, Transient: b.Transient,
			Delivered: b.Delivered, Acknowledged: b.Acknowledged, Refused: make(map[string]uint64, len(b.Refused)), Missed: b.Missed,
		}
		for code, n := range b.Refused {
			stats.Refused[strconv.Itoa(int(code))] = n
		}
		return answer(stats), nil
	})
}
