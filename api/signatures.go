package api

import (
	"context"
	"net/http"

	"kith/broker"
)

// SignBody says what to sign (spec 13): an open or a watch, or with action a request about a group.
type SignBody struct {
	Peer   string   `json:"peer" doc:"Whom to sign for." example:"1"`
	Watch  []string `json:"watch,omitempty" nullable:"false" doc:"Whom it may watch." example:"[\"2\",\"3\",\"4\"]"`
	Super  bool     `json:"super,omitempty" doc:"Make it a super peer, which sends to anyone unwatched." example:"false"`
	Group  string   `json:"group,omitempty" doc:"With action: the group; none to create one." example:"team"`
	Peers  []string `json:"peers,omitempty" nullable:"false" doc:"With action invite or kick: whom." example:"[\"2\",\"3\"]"`
	Action string   `json:"action,omitempty" enum:"join,invite,kick" doc:"What to do with the group." example:"invite"`
}

// SignInput is a request for a signature.
type SignInput struct {
	AppPath
	Body SignBody
}

// Signature is a proof for a client to present.
type Signature struct {
	Timestamp int64  `json:"timestamp" doc:"When it was made, Unix seconds." example:"1416290728"`
	Nonce     string `json:"nonce" doc:"Unique to it." example:"85561"`
	Signature string `json:"signature" doc:"Lower-case hex." example:"cf4a1b6b55ff87753da4ae7f5dd2c33273108b62"`
	Password  string `json:"password,omitempty" doc:"Of an open: what to say as MQTT password." example:"{\"timestamp\":1416290728}"`
}

// request checks the form of what is to be signed.
func (b *SignBody) request() (r broker.SignRequest, err error) {
	if b.Action == "" && (b.Group != "" || len(b.Peers) > 0) {
		return r, malformed("group and peers need an action")
	}
	if b.Action != "" && (len(b.Watch) > 0 || b.Super) {
		return r, malformed("watch and super are for an open, without an action")
	}
	r = broker.SignRequest{Super: b.Super, Action: b.Action}
	if r.Peer, err = parsePeer("body.peer", b.Peer); err != nil {
		return r, err
	}
	if b.Group != "" {
		if r.Group, err = parseGroup("body.group", b.Group); err != nil {
			return r, err
		}
	}
	if r.Watch, err = parsePeers("body.watch", b.Watch); err != nil {
		return r, err
	}
	r.Peers, err = parsePeers("body.peers", b.Peers)
	return r, err
}

func (s *Server) registerSignatures() {
	register(s, operation{
		id: "sign", method: http.MethodPost, path: "/v1/apps/{app}/signatures", tag: "signatures", role: RoleAdmin,
		summary:     "Sign for a client",
		description: "Signs an open or a watch, or with action a request about a group, with the app's master key.",
		errors:      []broker.Code{broker.InvalidPeer, broker.LimitExceeded},
		routine:     true,
		request:     SignBody{Peer: "1", Watch: []string{"2", "3", "4"}},
		answer: Signature{
			Timestamp: 1416290728, Nonce: "85561", Signature: "cf4a1b6b55ff87753da4ae7f5dd2c33273108b62",
			Password: `{"timestamp":1416290728,"nonce":"85561","signature":"cf4a1b6b55ff87753da4ae7f5dd2c33273108b62","watch":["2","3","4"]}`,
		},
	}, func(ctx context.Context, in *SignInput) (*Answer[Signature], error) {
		callerOf(ctx).target = in.Body.Peer
		r, err := in.Body.request()
		if err != nil {
			return nil, err
		}
		signed, err := s.broker.Sign(in.app(), r)
		if err != nil {
			return nil, err
		}
		return answer(Signature(signed)), nil
	})
}
