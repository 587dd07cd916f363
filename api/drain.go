package api

import (
	"context"
	"errors"
	"net/http"

	"kith/broker"
)

// NodePath is a path to a node.
type NodePath struct {
	Node string `path:"node" maxLength:"255" doc:"The node's name." example:"kith-1"`
}

func (s *Server) registerDrain() {
	example := nodeOf(broker.NodeInfo{Name: "kith-1", Version: "1.0.0", Started: 1416290728000, Sessions: 42, Draining: true})
	problems := []*Problem{drainProblem(broker.ErrManyNodes), drainProblem(broker.ErrNoRefuge)}
	register(s, operation{
		id: "drain-node", method: http.MethodPut, path: "/v1/nodes/{node}/drain", tag: "operators", role: RoleAdmin,
		summary: "Drain a node", description: "Has a node send its clients to the other nodes, and refuse new ones, from now on. " +
			"Its sessions count down. Called again it changes nothing. For operators of all apps.",
		missing: true, problems: problems, answer: example,
	}, s.drainNode(true))
	example.Ready, example.Draining = true, false
	register(s, operation{
		id: "undrain-node", method: http.MethodDelete, path: "/v1/nodes/{node}/drain", tag: "operators", role: RoleAdmin,
		summary: "Take a node back", description: "Has a node that was drained take clients again. For operators of all apps.",
		missing: true, problems: problems[:1], answer: example,
	}, s.drainNode(false))
}

func (s *Server) drainNode(on bool) func(context.Context, *NodePath) (*Answer[Node], error) {
	return func(ctx context.Context, in *NodePath) (*Answer[Node], error) {
		if !callerOf(ctx).operator.seesAll() {
			return nil, problem(broker.Forbidden, "a node serves all apps: this takes an operator of all of them")
		}
		n, err := s.broker.DrainNode(ctx, in.Node, on)
		if err != nil {
			return nil, drainProblem(err)
		}
		return answer(nodeOf(n)), nil
	}
}

func drainProblem(err error) *Problem {
	switch {
	case errors.Is(err, broker.ErrNoNode):
		return notFound(err.Error())
	case errors.Is(err, broker.ErrManyNodes), errors.Is(err, broker.ErrNoRefuge):
		return statusProblem(http.StatusConflict, err.Error())
	}
	return problem(broker.Internal, err.Error())
}
