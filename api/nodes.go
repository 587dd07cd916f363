package api

import (
	"context"
	"net/http"

	"kith/broker"
)

// Node is a server as operators see it.
type Node struct {
	Name     string `json:"name" doc:"The node's name." example:"kith-1"`
	Version  string `json:"version" doc:"Of its program." example:"1.0.0"`
	Started  int64  `json:"started" doc:"When it started, Unix milliseconds." example:"1416290728000"`
	Sessions int64  `json:"sessions" doc:"Connections now." example:"42"`
	Ready    bool   `json:"ready" doc:"Whether it can serve, as /readyz says." example:"true"`
	Draining bool   `json:"draining" doc:"Whether its clients are moved to other nodes, or were." example:"false"`
}

func nodeOf(n broker.NodeInfo) Node {
	return Node{n.Name, n.Version, n.Started, n.Sessions, n.Ready, n.Draining}
}

func (s *Server) registerNodes() {
	register(s, operation{
		id: "list-nodes", method: http.MethodGet, path: "/v1/nodes", tag: "operators", role: RoleViewer,
		summary: "List nodes", description: "The servers that are up, in the order of their names.",
		answer: Page[Node]{Items: []Node{{"kith-1", "1.0.0", 1416290728000, 42, true, false}}, Next: nodeList.cursor("kith-1")},
	}, func(ctx context.Context, in *PageQuery) (*Answer[Page[Node]], error) {
		after, err := nodeList.last(in.Cursor)
		if err != nil {
			return nil, err
		}
		var nodes []Node
		for _, n := range s.broker.Nodes(ctx) {
			if (n.Name > after || after == "") && len(nodes) <= in.Limit {
				nodes = append(nodes, nodeOf(n))
			}
		}
		return answer(pageOf(nodes, in.Limit, nodeList, func(n *Node) string { return n.Name })), nil
	})
}
