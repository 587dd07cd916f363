package broker

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
)

// What is known of one peer beside its messages and devices, for who asks what that is.

// Membership is a peer's place in a group.
type Membership struct {
	Group  GroupID
	Joined int64 // Unix milliseconds
}

// Memberships returns the groups that a peer is a member of, at most 10,000, in the order of their ids.
func (b *Broker) Memberships(ctx context.Context, app AppID, p PeerID) ([]Membership, error) {
	groups, err := b.memberships(ctx, app, p)
	if err != nil || len(groups) == 0 {
		return nil, err
	}
	all := make([]Membership, 0, len(groups))
	keys := make([]Key, 0, len(groups))
	for g := range groups {
		all = append(all, Membership{Group: GroupID(g)})
	}
	slices.SortFunc(all, func(x, y Membership) int { return cmpString(x.Group, y.Group) })
	for _, m := range all {
		keys = append(keys, memberKey(groupKey{app, m.Group}, p))
	}
	joined, err := b.store.Get(ctx, keys)
	if err != nil {
		return nil, err
	}
	for i := range all {
		all[i].Joined = decodeTime(joined[i])
	}
	return all, nil
}

// Ban returns the ban on a peer; false: there is none.
func (b *Broker) Ban(ctx context.Context, app AppID, p PeerID) (Ban, bool, error) {
	values, err := b.store.Get(ctx, []Key{banKey(app, p)})
	if err != nil || values[0] == nil {
		return Ban{}, false, err
	}
	var ban Ban
	err = json.Unmarshal(values[0], &ban)
	return ban, err == nil, err
}

// WaitingEvent is an event that is kept for a peer: a receipt or a notice of a group (spec 6).
type WaitingEvent struct {
	TS    int64           `json:"ts"` // Unix milliseconds
	Event string          `json:"event"`
	Data  json.RawMessage `json:"data"`
}

// Events calls do with the events that are kept for a peer, oldest first, those that its devices have had already among them.
func (b *Broker) Events(ctx context.Context, app AppID, p PeerID, do func([]WaitingEvent) error) error {
	for r := (Range{Limit: exportPage}); ; {
		entries, err := b.store.Read(ctx, LogID{LogEvents, app, string(p)}, r)
		if err != nil || len(entries) == 0 {
			return err
		}
		page := make([]WaitingEvent, 0, len(entries))
		for _, e := range entries {
			r.After = e.ID
			kind, rest, _ := strings.Cut(string(e.Value), "\x00")
			if _, body, ok := strings.Cut(rest, "\x00"); ok && json.Valid([]byte(body)) {
				page = append(page, WaitingEvent{e.ID.Time(), kind, json.RawMessage(body)})
			}
		}
		if err := do(page); err != nil || len(entries) < r.Limit {
			return err
		}
	}
}
