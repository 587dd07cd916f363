package legacy

import "kith/broker"

// sendBody is a message to send. Of its other documented fields push_data and priority have no effect here.
type sendBody struct {
	FromPeer  string   `json:"from_peer"`
	Message   *string  `json:"message"`
	ToPeers   []string `json:"to_peers"`
	GroupID   string   `json:"group_id"`
	ConvID    string   `json:"conv_id"`   // a conversation of that service's second version, which is a group here
	Transient *bool    `json:"transient"` // nil: true
	NoSync    bool     `json:"no_sync"`
}

// request checks the form of a message; the rules are the broker's.
func (b *sendBody) request() (r broker.SendRequest, err error) {
	if b.GroupID != "" && b.ConvID != "" {
		return r, malformed("give either group_id or conv_id")
	}
	group := b.GroupID + b.ConvID
	if (len(b.ToPeers) > 0) == (group != "") {
		return r, malformed("give either to_peers or group_id")
	}
	if b.Message == nil {
		return r, malformed("message is missing")
	}
	r = broker.SendRequest{Payload: []byte(*b.Message), Transient: b.Transient == nil || *b.Transient, NoSync: b.NoSync}
	if r.From, err = parsePeer("from_peer", b.FromPeer); err != nil {
		return r, err
	}
	if group != "" {
		r.Group, err = parseGroup("group_id", group)
		return r, err
	}
	r.To = peerIDs(b.ToPeers)
	return r, nil
}

// send sends as any peer. It answers when a persistent message is durable.
func (a *calls) send(c *call) (any, error) {
	var body sendBody
	if err := c.decode(&body); err != nil {
		return nil, err
	}
	r, err := body.request()
	if err != nil {
		return nil, err
	}
	if c.addr.IsValid() {
		r.FromIP = c.addr.String()
	}
	if _, err := a.Broker.Send(c.Context(), c.app, r); err != nil {
		return nil, err
	}
	return empty{}, nil
}
