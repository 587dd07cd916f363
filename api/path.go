package api

import (
	"fmt"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"kith/broker"
)

// AppPath is the start of a path under an app. Who passed authorize knows that it exists.
type AppPath struct {
	App string `path:"app" doc:"The app's id." example:"demo"`
}

func (p *AppPath) app() broker.AppID { return broker.AppID(p.App) }

// PeerPath is a path to a peer. Any UTF-8 is fine, percent-encoded.
type PeerPath struct {
	AppPath
	Peer string `path:"peer" doc:"The peer's id, percent-encoded." example:"alice"`
}

func (p *PeerPath) peer() (broker.PeerID, error) { return parsePeer("path.peer", p.Peer) }

func parsePeer(where, s string) (broker.PeerID, error) {
	peer, ok := broker.ParsePeerID(s)
	if !ok {
		return "", problem(broker.InvalidPeer, where+" is not a peer id: 1-50 characters without control characters, spaces and / + # : $")
	}
	return peer, nil
}

func parseGroup(where, s string) (broker.GroupID, error) {
	group, ok := broker.ParseGroupID(s)
	if !ok {
		return "", malformed(where + " is not a group id: 1-64 of A-Z a-z 0-9 _ . - and not 32 hex digits")
	}
	return group, nil
}

// parsePeers checks a list of ids, of which none may be empty or repeated (spec 13). How long it may be is the broker's to say.
// No list stays none: an empty watch list is a word of its own (spec 2).
func parsePeers(where string, ids []string) ([]broker.PeerID, error) {
	if ids == nil {
		return nil, nil
	}
	peers := make([]broker.PeerID, 0, len(ids))
	seen := make(map[string]bool, len(ids))
	for i, id := range ids {
		peer, ok := broker.ParsePeerID(id)
		if !ok {
			return nil, malformed(fmt.Sprintf("%s[%d] is not a peer id", where, i))
		}
		if seen[id] {
			return nil, malformed(fmt.Sprintf("%s[%d] is there twice", where, i))
		}
		seen[id] = true
		peers = append(peers, peer)
	}
	return peers, nil
}

// OptionalBool is a parameter of which false says something else than nothing.
type OptionalBool struct{ value, given bool }

// Schema implements huma.SchemaProvider.
func (*OptionalBool) Schema(huma.Registry) *huma.Schema { return &huma.Schema{Type: huma.TypeBoolean} }

// Receiver implements huma.ParamWrapper.
func (o *OptionalBool) Receiver() reflect.Value { return reflect.ValueOf(&o.value).Elem() }

// OnParamSet implements huma.ParamReactor.
func (o *OptionalBool) OnParamSet(given bool, _ any) { o.given = given }

func (o *OptionalBool) pointer() *bool {
	if !o.given {
		return nil
	}
	return &o.value
}
