package broker

import (
	"context"
	"errors"
	"slices"
	"time"
)

const (
	// erasePage is how many messages are removed in one commit.
	erasePage = 500
	// endDeadline is how long an erasure waits for the peer's connections to end.
	endDeadline = 5 * time.Second
	// endPoll is how often it looks.
	endPoll = 5 * time.Millisecond
	// maxEraseRounds bounds how often it begins again because the peer came back and joined a group meanwhile.
	maxEraseRounds = 3
)

// Erased is the receipt of an erasure: whom it removed, when, and how much of what.
type Erased struct {
	Peer     PeerID
	At       int64 // Unix milliseconds when it was done
	Sessions int   // connections that were ended
	Messages int   // that the peer had sent
	Waiting  int   // messages in the queue of its device that had the most; those of others stay in history
	Events   int   // that waited for it
	Groups   int   // that it was a member of
	Devices  int
}

// ErasePeer removes a peer (spec 11, 13): its sessions, queue, memberships, devices and what it sent, from others' queues too. What
// others sent to it stays theirs, and a ban stays. A signed CONNECT of before is refused afterwards. When it fails, or ctx ends
// first, some is removed already; to erase again goes on from there.
func (b *Broker) ErasePeer(ctx context.Context, app AppID, p PeerID) (Erased, error) {
	a, err := b.app(app)
	if err != nil {
		return Erased{}, err
	}
	e := erasure{b: b, app: a, peer: p, Erased: Erased{Peer: p}}
	err = e.look(ctx)
	if err == nil {
		err = b.noteKick(ctx, app, p, "")
	}
	for range maxEraseRounds {
		if err == nil {
			err = e.round(ctx)
		}
		if err != nil || e.finished {
			break
		}
	}
	if err == nil && !e.finished {
		err = Errorf(Internal, "the peer came back while it was erased; ban it first")
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = Errorf(Internal, "there was no time for all; what was removed is gone, erase again for the rest")
	}
	e.At = b.now().UnixMilli()
	b.log.Info("peer erased", "app", app, "peer", p, "messages", e.Messages, "groups", e.Groups, "devices", e.Devices, "finished", e.finished)
	return e.Erased, err
}

// erasure is one call of ErasePeer.
type erasure struct {
	Erased
	b        *Broker
	app      *app
	peer     PeerID
	finished bool
}

func (e *erasure) key() peerKey { return peerKey{e.app.id, e.peer} }

// look counts what waits for the peer before anything is removed.
func (e *erasure) look(ctx context.Context) error {
	status, _, err := e.b.Peer(ctx, e.app.id, e.peer)
	if err != nil {
		return err
	}
	events, err := e.b.store.Read(ctx, LogID{LogEvents, e.app.id, string(e.peer)}, Range{Limit: 2 * maxWaitingEvents})
	e.Waiting, e.Events = status.Waiting, len(events)
	return err
}

// round takes the peer out of everything. The long part is done first; then, while nobody can open a session of the peer, the rest.
func (e *erasure) round(ctx context.Context) error {
	if err := e.endSessions(ctx); err != nil {
		return err
	}
	if err := e.leaveGroups(ctx); err != nil {
		return err
	}
	if err := e.deleteMessages(ctx); err != nil {
		return err
	}
	lock := e.b.openingLock(e.key())
	lock.Lock()
	defer lock.Unlock()
	if err := e.endSessions(ctx); err != nil { // it may have come back
		return err
	}
	if groups, err := e.b.memberships(ctx, e.app.id, e.peer); err != nil || len(groups) > 0 {
		return err
	}
	if err := e.deleteMessages(ctx); err != nil {
		return err
	}
	if err := e.deleteState(ctx); err != nil {
		return err
	}
	back, err := e.isBack(ctx)
	e.finished = err == nil && !back
	return err
}

// endSessions ends the peer's connections of now and waits until what they leave behind is stored.
func (e *erasure) endSessions(ctx context.Context) error {
	here := e.b.sessionsHere(e.key())
	away, err := e.elsewhere(ctx)
	if err != nil {
		return err
	}
	ended, err := e.b.endEverywhere(ctx, e.key(), "")
	e.Sessions += ended
	if err != nil {
		return err
	}
	deadline := time.NewTimer(endDeadline)
	defer deadline.Stop()
	look := time.NewTicker(endPoll)
	defer look.Stop()
	for {
		if away, err = e.ending(ctx, away); err != nil || len(here) == 0 && len(away) == 0 {
			return err
		}
		select {
		case <-look.C:
		case <-deadline.C:
			return Errorf(Internal, "the peer's connections did not end; try again")
		case <-ctx.Done():
			return ctx.Err()
		}
		still := e.b.sessionsHere(e.key())
		here = slices.DeleteFunc(here, func(s *Session) bool { return !slices.Contains(still, s) })
	}
}

// elsewhere returns what the peer has at other nodes.
func (e *erasure) elsewhere(ctx context.Context) ([]held, error) {
	if e.b.cluster == nil {
		return nil, nil
	}
	_, lines, err := e.b.cluster.nodesHolding(ctx, whereKey(e.key()))
	return lines, err
}

// ending returns those of away whose session is connected, or has ended and is not stored yet.
func (e *erasure) ending(ctx context.Context, away []held) (still []held, err error) {
	c := e.b.cluster
	for _, h := range away {
		q := &question{App: e.app.id, Peer: e.peer, Claim: h.claim}
		there := false
		if err := c.askAll(ctx, []NodeID{h.node}, askEnding, q, func(r *reply) { there = r.Count > 0 }); err != nil {
			return nil, err
		}
		if there {
			still = append(still, h)
		}
	}
	return still, nil
}

// isBack reports whether the peer has come back to another node meanwhile.
func (e *erasure) isBack(ctx context.Context) (bool, error) {
	away, err := e.elsewhere(ctx)
	if err == nil {
		away, err = e.ending(ctx, away)
	}
	return len(away) > 0, err
}

// sessionsHere returns the peer's sessions that are connected here, and those that ended and are not stored yet.
func (b *Broker) sessionsHere(key peerKey) []*Session {
	sh := b.shardOf(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if p := sh.peers[key]; p != nil {
		return slices.Concat(p.sessions, p.closing)
	}
	return nil
}

// leaveGroups makes the peer leave its groups, as if by itself.
func (e *erasure) leaveGroups(ctx context.Context) error {
	for {
		groups, err := e.b.memberships(ctx, e.app.id, e.peer)
		if err != nil || len(groups) == 0 {
			return err
		}
		for g := range groups {
			k := groupKey{e.app.id, GroupID(g)}
			left, err := e.b.removeMembers(ctx, k, actor{peer: e.peer}, []PeerID{e.peer})
			if err != nil && AsError(err).Code != GroupNotFound {
				return err
			}
			if len(left) > 0 {
				e.Groups++
				continue
			}
			// The group is gone, or knows nothing of it.
			if _, err := e.b.commit(ctx, &Batch{Writes: []Write{{Key: membershipKey(k, e.peer)}}}); err != nil {
				return err
			}
		}
	}
}

// deleteMessages removes what the peer sent. That it waits for others does not matter: what is gone is passed over.
func (e *erasure) deleteMessages(ctx context.Context) error {
	for _, kind := range []LogKind{LogSent, LogPastSent} {
		if err := e.deleteSent(ctx, LogID{kind, e.app.id, string(e.peer)}); err != nil {
			return err
		}
	}
	return nil
}

// deleteSent removes the messages of one log.
func (e *erasure) deleteSent(ctx context.Context, sent LogID) error {
	b := e.b
	for r := (Range{Limit: erasePage}); ; {
		entries, err := b.store.Read(ctx, sent, r)
		if err != nil || len(entries) == 0 {
			return err
		}
		r.After = entries[len(entries)-1].ID
		ids := make([]MessageID, len(entries))
		for i := range entries {
			ids[i] = entries[i].ID
		}
		messages, err := b.store.Messages(ctx, e.app.id, ids)
		if err != nil {
			return err
		}
		batch := &Batch{}
		for _, m := range messages {
			if m == nil {
				continue // deleted before
			}
			batch.Deletes = append(batch.Deletes, Delete{App: e.app.id, Message: m.ID})
			if m.Receipt {
				batch.Writes = append(batch.Writes, Write{Key: receiptKey(e.app.id, m.ID)})
			}
		}
		if len(batch.Deletes) == 0 {
			continue
		}
		if _, err := b.commit(ctx, batch); err != nil {
			return err
		}
		e.Messages += len(batch.Deletes)
	}
}

// deleteState removes the peer's logs and records. Only how far its inbox and events were numbered stays: their numbers go on, and a
// device that comes new starts there.
func (e *erasure) deleteState(ctx context.Context) error {
	b, app, owner := e.b, e.app.id, string(e.peer)
	logs := []LogID{{LogInbox, app, owner}, {LogEvents, app, owner}}
	last, err := b.store.Last(ctx, logs)
	if err != nil {
		return err
	}
	devices, err := b.store.List(ctx, ListQuery{Space: SpaceDevice, App: app, Owner: owner, Limit: maxDeviceRecords})
	if err != nil {
		return err
	}
	batch := &Batch{}
	for _, kind := range []LogKind{LogSent, LogInbox, LogEvents, LogPastSent, LogPastReceived} {
		batch.Deletes = append(batch.Deletes, Delete{App: app, Log: LogID{kind, app, owner}})
	}
	remove := func(r Record) {
		if r.Key != cursorKey(app, e.peer, "", logs[0]) && r.Key != cursorKey(app, e.peer, "", logs[1]) {
			batch.Writes = append(batch.Writes, Write{Key: r.Key})
		}
	}
	for _, r := range devices {
		remove(r)
	}
	for _, q := range []ListQuery{
		{Space: SpaceCursor, Owner: owner},
		{Space: SpaceTrail, Owner: owner},
		{Space: SpaceServer, Owner: willOwner, Prefix: owner + "/"}, // of client ids
	} {
		if err := e.each(ctx, q, remove); err != nil {
			return err
		}
	}
	for i, log := range logs {
		if last[i].N > 0 {
			batch.Writes = append(batch.Writes, Write{Key: cursorKey(app, e.peer, "", log), Value: encodePosition(Position{last[i].N, last[i].ID})})
		}
	}
	batch.Writes = append(batch.Writes, Write{Key: seenKey(app, e.peer)}, Write{Key: openKey(app, e.peer)})
	if _, err := b.commit(ctx, batch); err != nil {
		return err
	}
	e.Devices += len(devices)
	return nil
}

// each calls do with every record that q selects.
func (e *erasure) each(ctx context.Context, q ListQuery, do func(Record)) error {
	q.App, q.Limit = e.app.id, maxDeviceRecords
	for {
		page, err := e.b.store.List(ctx, q)
		if err != nil {
			return err
		}
		for _, r := range page {
			q.After = r.Key
			do(r)
		}
		if len(page) < q.Limit {
			return nil
		}
	}
}
