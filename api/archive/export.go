package archive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"kith/broker"
)

// Source is what is exported; *broker.Broker is one.
type Source interface {
	Export(ctx context.Context, app broker.AppID, q broker.ExportQuery, do func([]broker.PastMessage) error) error
	Groups(ctx context.Context, app broker.AppID, after broker.GroupID, limit int) ([]broker.Group, error)
	Members(ctx context.Context, app broker.AppID, id broker.GroupID, after broker.PeerID, limit int) ([]broker.Member, error)
	Peer(ctx context.Context, app broker.AppID, peer broker.PeerID) (broker.PeerStatus, bool, error)
	Memberships(ctx context.Context, app broker.AppID, peer broker.PeerID) ([]broker.Membership, error)
	Events(ctx context.Context, app broker.AppID, peer broker.PeerID, do func([]broker.WaitingEvent) error) error
	Ban(ctx context.Context, app broker.AppID, peer broker.PeerID) (broker.Ban, bool, error)
}

// Query says what is exported of an app.
type Query struct {
	broker.ExportQuery
	// Whole adds what is no message: with a peer all that is known of it, else the app's groups and their members.
	Whole bool
}

// page is how many groups or members are read at once.
const page = 250

// Export writes records to w, one Write for some hundred of them. flush is called behind each.
func Export(ctx context.Context, s Source, app broker.AppID, q Query, w io.Writer) error {
	e := exporter{source: s, app: app, w: w}
	if q.Whole {
		write := e.groups
		if q.Peer != "" {
			write = func(ctx context.Context) error { return e.peer(ctx, q.Peer) }
		}
		if err := write(ctx); err != nil {
			return err
		}
	}
	return s.Export(ctx, app, q.ExportQuery, func(messages []broker.PastMessage) error {
		for _, m := range messages {
			e.add(newMessage(m))
		}
		return e.flush()
	})
}

type exporter struct {
	source Source
	app    broker.AppID
	w      io.Writer
	buf    []byte
	err    error // of the first record that did not encode
}

func (e *exporter) add(record any) {
	line, err := json.Marshal(record)
	if err != nil && e.err == nil {
		e.err = fmt.Errorf("write a record: %w", err)
	}
	e.buf = append(append(e.buf, line...), '\n')
}

func (e *exporter) flush() error {
	if e.err != nil || len(e.buf) == 0 {
		return e.err
	}
	_, err := e.w.Write(e.buf)
	e.buf = e.buf[:0]
	if err != nil {
		return fmt.Errorf("write records: %w", err)
	}
	return nil
}

// groups writes the app's groups, each with its members behind it.
func (e *exporter) groups(ctx context.Context) error {
	for after := broker.GroupID(""); ; {
		groups, err := e.source.Groups(ctx, e.app, after, page)
		if err != nil {
			return fmt.Errorf("read groups: %w", err)
		}
		for _, g := range groups {
			after = g.ID
			e.add(groupLine{typeGroup, g.ID, g.Name, g.Open, g.Creator, g.Created, g.Attributes})
			if g.Open {
				continue
			}
			if err := e.members(ctx, g.ID); err != nil {
				return err
			}
		}
		if err := e.flush(); err != nil || len(groups) < page {
			return err
		}
	}
}

func (e *exporter) members(ctx context.Context, group broker.GroupID) error {
	for after := broker.PeerID(""); ; {
		members, err := e.source.Members(ctx, e.app, group, after, page)
		if e, ok := errors.AsType[*broker.Error](err); ok && e.Code == broker.GroupNotFound {
			return nil // it was deleted meanwhile
		}
		if err != nil {
			return fmt.Errorf("read members of group %q: %w", group, err)
		}
		for _, m := range members {
			after = m.Peer
			e.add(memberLine{typeMember, group, m.Peer, m.Joined})
		}
		if err := e.flush(); err != nil || len(members) < page {
			return err
		}
	}
}

type peerLine struct {
	Type     string        `json:"type"`
	Peer     broker.PeerID `json:"peer"`
	LastSeen int64         `json:"last_seen,omitempty"`
	Waiting  int           `json:"waiting"`
	Ban      *broker.Ban   `json:"ban,omitempty"`
}

type deviceLine struct {
	Type string        `json:"type"`
	Peer broker.PeerID `json:"peer"`
	broker.SessionInfo
}

type eventLine struct {
	Type string        `json:"type"`
	Peer broker.PeerID `json:"peer"`
	broker.WaitingEvent
}

// peer writes what is known of one peer.
func (e *exporter) peer(ctx context.Context, p broker.PeerID) error {
	status, _, err := e.source.Peer(ctx, e.app, p)
	if err != nil {
		return fmt.Errorf("read peer %q: %w", p, err)
	}
	line := peerLine{Type: typePeer, Peer: p, LastSeen: status.LastSeen, Waiting: status.Waiting}
	ban, banned, err := e.source.Ban(ctx, e.app, p)
	if err != nil {
		return fmt.Errorf("read ban of %q: %w", p, err)
	}
	if banned {
		line.Ban = &ban
	}
	e.add(line)
	for _, s := range status.Sessions {
		e.add(deviceLine{typeDevice, p, s})
	}
	memberships, err := e.source.Memberships(ctx, e.app, p)
	if err != nil {
		return fmt.Errorf("read groups of %q: %w", p, err)
	}
	for _, m := range memberships {
		e.add(memberLine{typeMember, m.Group, p, m.Joined})
	}
	if err := e.flush(); err != nil {
		return err
	}
	return e.source.Events(ctx, e.app, p, func(events []broker.WaitingEvent) error {
		for _, ev := range events {
			e.add(eventLine{typeEvent, p, ev})
		}
		return e.flush()
	})
}
