package legacy

import (
	"encoding/json"
	"errors"
	"io"
	"time"

	"kith/broker"
)

const (
	maxSkip        = 10_000 // groups
	groupsAtATime  = 1000
	membersAtATime = 1000
)

// onlines counts who of an open group is connected.
func (a *calls) onlines(c *call) (any, error) {
	id, err := parseGroup("gid", c.query.Get("gid"))
	if err != nil {
		return nil, err
	}
	g, _, err := a.Broker.Group(c.Context(), c.app, id)
	if err != nil {
		return nil, err
	}
	if !g.Open {
		return nil, broker.Errorf(broker.InvalidTarget, "this is not an open group; read its members from AVOSRealtimeGroups")
	}
	return struct {
		Result int `json:"result"`
	}{g.Members}, nil
}

// group answers one row of the table of groups.
func (a *calls) group(c *call) (any, error) {
	name, err := c.path("id")
	if err != nil {
		return nil, err
	}
	id, err := parseGroup("the id", name)
	if err != nil {
		return nil, err
	}
	g, _, err := a.Broker.Group(c.Context(), c.app, id)
	if err != nil {
		return nil, err
	}
	return a.row(c, &g)
}

// row is a group as that service kept it: its attributes are columns beside those that it knows.
func (a *calls) row(c *call, g *broker.Group) (map[string]any, error) {
	row := map[string]any{}
	if len(g.Attributes) > 0 {
		if err := json.Unmarshal(g.Attributes, &row); err != nil {
			return nil, err
		}
	}
	made := time.UnixMilli(g.Created).UTC().Format("2006-01-02T15:04:05.000Z")
	row["objectId"], row["createdAt"], row["updatedAt"], row["tr"] = g.ID, made, made, g.Open
	if g.Name != "" {
		row["name"] = g.Name
	}
	members := []broker.PeerID{}
	if !g.Open { // an open group has no list
		var err error
		if members, err = a.members(c, g.ID); err != nil {
			return nil, err
		}
	}
	row["m"] = members
	return row, nil
}

func (a *calls) members(c *call, id broker.GroupID) ([]broker.PeerID, error) {
	peers := []broker.PeerID{}
	after := broker.PeerID("")
	for {
		page, err := a.Broker.Members(c.Context(), c.app, id, after, membersAtATime)
		if err != nil {
			return nil, err
		}
		for _, m := range page {
			peers = append(peers, m.Peer)
		}
		if len(page) < membersAtATime {
			return peers, nil
		}
		after = peers[len(peers)-1]
	}
}

// groups answers rows of the table of groups in the order of their ids: all, or those that a peer is a member of.
func (a *calls) groups(c *call) (any, error) {
	limit, err := c.limit()
	if err != nil {
		return nil, err
	}
	skip, err := c.number("skip", 0)
	if err != nil {
		return nil, err
	}
	if skip > maxSkip {
		return nil, broker.Errorf(broker.LimitExceeded, "skip is at most %d; GET /v1/apps/%s/groups pages through any number", maxSkip, c.app)
	}
	for _, name := range []string{"order", "keys", "include", "count"} {
		if c.query.Has(name) {
			return nil, malformed("%s is not possible here; there are where, limit and skip", name)
		}
	}
	member, err := c.where()
	if err != nil {
		return nil, err
	}
	found, err := a.list(c, member, skip, limit)
	if err != nil {
		return nil, err
	}
	return a.rows(c, found), nil
}

// where reads the one condition that there is: {"m":"peer"}.
func (c *call) where() (broker.PeerID, error) {
	text := c.query.Get("where")
	if text == "" {
		return "", nil
	}
	var condition map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &condition); err != nil {
		return "", malformed("where is not a JSON object")
	}
	var peer string
	member, ok := condition["m"]
	if len(condition) != 1 || !ok || json.Unmarshal(member, &peer) != nil {
		return "", malformed(`where takes {"m":"peer"} and nothing else`)
	}
	return parsePeer("where", peer)
}

// list returns limit groups behind the first skip: of all, or of a member's.
func (a *calls) list(c *call, member broker.PeerID, skip, limit int) (found []broker.Group, err error) {
	after := broker.GroupID("")
	for len(found) < limit {
		var page []broker.Group
		n := min(skip+limit-len(found), groupsAtATime)
		if member == "" {
			page, err = a.Broker.Groups(c.Context(), c.app, after, n)
		} else {
			page, err = a.Broker.GroupsOf(c.Context(), c.app, member, after, n)
		}
		if err != nil || len(page) == 0 {
			return found, err
		}
		after = page[len(page)-1].ID
		passed := min(skip, len(page))
		skip -= passed
		found = append(found, page[passed:]...)
	}
	return found, nil
}

// rows writes groups one at a time: with all their members they may be far larger than anything else that is answered.
func (a *calls) rows(c *call, groups []broker.Group) streamed {
	return func(w io.Writer) error {
		if _, err := io.WriteString(w, `{"results":[`); err != nil {
			return err
		}
		comma := ""
		for i := range groups {
			row, err := a.row(c, &groups[i])
			if gone, ok := errors.AsType[*broker.Error](err); ok && gone.Code == broker.GroupNotFound {
				continue // deleted meanwhile
			}
			if err != nil {
				return err
			}
			if _, err := io.WriteString(w, comma); err != nil {
				return err
			}
			if err := encode(w, row); err != nil {
				return err
			}
			comma = ","
		}
		_, err := io.WriteString(w, "]}\n")
		return err
	}
}
