package legacy

import (
	"unicode/utf8"

	"kith/broker"
)

const (
	maxOnline = 20 // ids in one question for who is online
	maxReason = 20 // characters of the reason of a kick
)

// unread counts what waits for a peer, in all conversations or in one.
func (a *calls) unread(c *call) (any, error) {
	peer, err := c.pathPeer()
	if err != nil {
		return nil, err
	}
	name, err := c.path("conversation")
	if err != nil {
		return nil, err
	}
	var only broker.ConversationID
	if name != "" {
		if only, err = parseConversation(name); err != nil {
			return nil, err
		}
	}
	waiting, err := a.Broker.CountQueue(c.Context(), c.app, peer, only)
	return struct {
		Count int `json:"count"`
	}{waiting}, err
}

// online tells who of some peers is.
func (a *calls) online(c *call) (any, error) {
	var body struct {
		Peers []string `json:"peers"`
	}
	if err := c.decode(&body); err != nil {
		return nil, err
	}
	if len(body.Peers) == 0 {
		return nil, malformed("peers is missing")
	}
	if n := len(body.Peers); n > maxOnline {
		return nil, broker.Errorf(broker.LimitExceeded, "peers holds %d ids, at most %d are allowed", n, maxOnline)
	}
	for _, name := range body.Peers {
		if _, err := parsePeer("peers", name); err != nil {
			return nil, err
		}
	}
	online, err := a.Broker.Online(c.Context(), c.app, peerIDs(body.Peers))
	return struct {
		Results []broker.PeerID `json:"results"`
	}{online}, err
}

// kick ends a peer's connections. The reason is the caller's own: clients are told that they were kicked.
func (a *calls) kick(c *call) (any, error) {
	var body struct {
		ClientID string `json:"client_id"`
		Reason   string `json:"reason"`
	}
	if err := c.decode(&body); err != nil {
		return nil, err
	}
	if utf8.RuneCountInString(body.Reason) > maxReason {
		return nil, broker.Errorf(broker.LimitExceeded, "reason is over %d characters", maxReason)
	}
	peer, err := parsePeer("client_id", body.ClientID)
	if err != nil {
		return nil, err
	}
	c.target = string(peer)
	if _, err := a.Broker.Kick(c.Context(), c.app, peer, ""); err != nil {
		return nil, err
	}
	return empty{}, nil
}
