package archive

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"kith/broker"
)

// A row of the original service's tables of groups (AVOSRealtimeGroups) and of conversations (_Conversation): objectId, the members m,
// whether it is transient (tr), in the latter also the creator c, name and attr. All other columns become attributes, but for those that
// say who may change the row, and when that was.
var rowOnly = map[string]bool{
	"objectId": true, "m": true, "tr": true, "c": true, "name": true, "attr": true,
	"ACL": true, "createdAt": true, "updatedAt": true, "className": true, "__type": true,
}

var errRow = errors.New("a column of the row is not of its type: objectId, c and name are texts, m is a list of texts, tr is true or false, attr is an object")

func parseRow(fields map[string]json.RawMessage) (Record, error) {
	var g broker.Group
	var members []broker.PeerID
	for _, column := range []struct {
		name string
		to   any
	}{{"objectId", &g.ID}, {"m", &members}, {"tr", &g.Open}, {"c", &g.Creator}, {"name", &g.Name}} {
		if value, there := fields[column.name]; there && json.Unmarshal(value, column.to) != nil {
			return Record{}, errRow
		}
	}
	attributes, err := rowAttributes(fields)
	if err != nil {
		return Record{}, err
	}
	g.Attributes = attributes
	if g.Created, err = rowTime(fields["createdAt"]); err != nil {
		return Record{}, err
	}
	r := Record{Group: &g}
	if !g.Open {
		for _, p := range members {
			r.Members = append(r.Members, broker.Member{Peer: p, Joined: g.Created})
		}
	}
	return r, nil
}

func rowAttributes(fields map[string]json.RawMessage) (json.RawMessage, error) {
	all := map[string]json.RawMessage{}
	for name, value := range fields {
		if !rowOnly[name] {
			all[name] = value
		}
	}
	if attr, there := fields["attr"]; there && string(attr) != "null" {
		var own map[string]json.RawMessage
		if json.Unmarshal(attr, &own) != nil {
			return nil, errRow
		}
		maps.Copy(all, own) // what the app set itself comes before columns
	}
	attributes, err := json.Marshal(all)
	if err != nil {
		return nil, fmt.Errorf("attributes: %w", err)
	}
	return attributes, nil
}

// rowTime reads a time as exports write it: a text, or an object with it.
func rowTime(value json.RawMessage) (int64, error) {
	if value == nil {
		return 0, nil
	}
	var text string
	if json.Unmarshal(value, &text) != nil {
		var date struct {
			ISO string `json:"iso"`
		}
		if json.Unmarshal(value, &date) != nil {
			return 0, errRowTime
		}
		text = date.ISO
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return 0, errRowTime
	}
	return at.UnixMilli(), nil
}

var errRowTime = errors.New("createdAt is not a time like 2014-10-08T02:29:21.417Z")
