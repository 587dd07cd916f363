package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// A will is stored while its connection lasts, so that one whose server dies is published by the next start.

// storedWill is a will with the session it speaks for.
type storedWill struct {
	Incarnation string   `json:"incarnation"`
	Peer        PeerID   `json:"peer"`
	Device      DeviceID `json:"device"`
	Address     string   `json:"address"`
	Delay       int64    `json:"delay,omitempty"`  // milliseconds
	Expiry      int64    `json:"expiry,omitempty"` // milliseconds
	Since       int64    `json:"since,omitempty"`  // when the session opened, in Unix milliseconds: tells it from those after it
	Will        Publish  `json:"will"`

	key   Key
	value []byte // as it stands in the store
}

const willOwner = "will"

func (s *Session) willKey() Key {
	return Key{Space: SpaceServer, App: s.app.id, Owner: willOwner, Name: s.clientID}
}

func encodeWill(s *Session) []byte {
	return mustJSON(storedWill{
		Incarnation: s.b.self(), Peer: s.peer, Device: s.device, Address: s.remote, Delay: s.willDelay.Milliseconds(),
		Expiry: s.willExpiry.Milliseconds(), Since: s.since, Will: *s.will,
	})
}

// forgetWill removes the session's stored will, unless a later session of the device has put its own there.
func (s *Session) forgetWill() {
	if s.will != nil {
		s.b.commitLazily(&Batch{Writes: []Write{{Key: s.willKey(), If: IfEqual, Have: s.willStored}}}, nil)
	}
}

// publishWill publishes the session's will, after its delay if the session may come back until then [MQTT-3.1.2-8].
func (s *Session) publishWill() {
	if s.will == nil {
		return
	}
	s.mu.Lock()
	over := s.over
	s.mu.Unlock()
	delay := min(s.willDelay, s.expiry)
	if delay <= 0 || over {
		s.fireWill()
		return
	}
	s.publishWillAfter(delay)
}

// publishWillAfter publishes the session's will unless its client comes back within the delay, here or at another node.
func (s *Session) publishWillAfter(delay time.Duration) {
	if s.will == nil {
		return
	}
	time.AfterFunc(delay, func() {
		if s.b.cluster != nil && s.b.stopped.Load() {
			return // the other nodes do it
		}
		if next := s.successor(); next == nil && s.willStands() && !s.isElsewhere() {
			s.fireWill() // else the session came back in time [MQTT-3.1.3-9]
		}
	})
}

// discard ends the MQTT session that the device's connection before left: its will, if it is held back, is due [MQTT-3.1.2-8]. old is
// that session, where it is not stored yet.
func (b *Broker) discard(ctx context.Context, s, old *Session) error {
	if old != nil {
		if old.will != nil && old.how != EndDisconnect && min(old.willDelay, old.expiry) > 0 {
			old.fireWill()
		}
		return nil
	}
	w, err := s.storedWill(ctx)
	if err != nil || w == nil || w.Delay == 0 {
		return err
	}
	w.Delay = 0
	b.publishLeftWill(s.app, w, s.claim)
	return nil
}

// willStands reports whether the stored will was not withdrawn since: by a session that came back and went, or with its peer.
func (s *Session) willStands() bool {
	ctx, cancel := context.WithTimeout(context.Background(), requestDeadline)
	defer cancel()
	w, err := s.storedWill(ctx)
	return err != nil || w != nil && w.Since == s.since
}

// storedWill reads the will that is stored for the session's device; nil for none.
func (s *Session) storedWill(ctx context.Context) (*storedWill, error) {
	values, err := s.b.store.Get(ctx, []Key{s.willKey()})
	if err != nil || values[0] == nil {
		return nil, err
	}
	w := &storedWill{key: s.willKey(), value: values[0]}
	if err := json.Unmarshal(values[0], w); err != nil {
		return nil, fmt.Errorf("stored will of %s: %w", s.clientID, err)
	}
	return w, nil
}

// isElsewhere reports whether the session's device is connected to another node by now.
func (s *Session) isElsewhere() bool {
	if s.b.cluster == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), requestDeadline)
	defer cancel()
	_, lines, err := s.b.cluster.nodesHolding(ctx, whereKey(s.key()))
	return err == nil && slices.ContainsFunc(lines, func(h held) bool { return h.device == s.device })
}

// successor returns the session of the same device that is connected now, if any.
func (s *Session) successor() *Session {
	for _, o := range s.b.connected(s.key(), nil) {
		if o != s && o.device == s.device {
			return o
		}
	}
	return nil
}

// fireWill publishes the will as the session's own message; the gate was passed at open. While this node may not write, it waits.
// Once the incarnation that the session was of is dead, another node publishes the will.
func (s *Session) fireWill() {
	b, p := s.b, *s.will
	if c := b.cluster; c != nil {
		switch {
		case !c.made(s.claim):
			return
		case !c.leased():
			if !b.stopped.Load() {
				time.AfterFunc(c.lease/2, s.fireWill)
			}
			return
		}
	}
	if s.willExpiry > 0 {
		p.Props.Expires = b.now().Add(s.willExpiry).UnixMilli()
	}
	parsed := parseTopic(s.app.id, string(p.Topic))
	if parsed.kind == topicFree {
		go s.publishFreeWill(&p) // what is retained waits for the store
		return
	}
	m := s.message(&p, parsed)
	m.Device = "" // every device of the sender may hear of it
	if p.QoS == 0 || p.Transient {
		s.forgetWill()
		m.Transient, m.ID = true, b.ids.Next()
		wakeAll(b.deliverTransient(m))
		return
	}
	if p.SenderID == "" { // should another node, or the next start, publish it as well
		p.SenderID = "\x00will\x00" + string(s.device) + "\x00" + strconv.FormatInt(s.since, 36)
	}
	b.appendAndDeliver(b.appendOf(m, p.SenderID, s.inboxesOf(m)), func(_ *Append, err error) {
		if errors.Is(err, ErrStoreClosed) {
			return // the next start publishes it, or another node
		}
		if err != nil {
			b.log.Warn("will could not be stored; trying again", "app", s.app.id, "peer", s.peer, "err", err)
			time.AfterFunc(heldRetry, s.fireWill)
			return
		}
		s.forgetWill() // not before: it would be lost by a crash between the two
	})
}

// publishFreeWill publishes a will under {app}/topic/; one to be retained, as soon as the store takes it.
func (s *Session) publishFreeWill(p *Publish) {
	if s.b.topics != nil {
		err := s.b.publishTopic(s, s.app.id, p)
		switch {
		case errors.Is(err, ErrStoreClosed):
			return // the next start publishes it, or another node
		case AsError(err) == errStoreAway:
			s.b.log.Warn("will could not be stored; trying again", "app", s.app.id, "peer", s.peer, "err", err)
			time.AfterFunc(heldRetry, s.fireWill)
			return
		case err != nil:
			s.b.log.Warn("will could not be published", "app", s.app.id, "peer", s.peer, "err", err)
		}
	}
	s.forgetWill()
}

// publishLeftWills publishes the wills of connections that a crash cut: those of incarnations that are left.
func (b *Broker) publishLeftWills(ctx context.Context, left func(incarnation string) bool) error {
	for _, a := range *b.apps.Load() {
		var after Key
		for {
			page, err := b.store.List(ctx, ListQuery{Space: SpaceServer, App: a.id, Owner: willOwner, After: after, Limit: pageSize})
			if err != nil {
				return fmt.Errorf("list wills: %w", err)
			}
			var wills []*storedWill
			for _, r := range page {
				after = r.Key
				w := &storedWill{key: r.Key, value: r.Value}
				if err := json.Unmarshal(r.Value, w); err != nil {
					b.log.Warn("stored will does not parse", "app", a.id, "err", err)
				} else if left(w.Incarnation) {
					wills = append(wills, w)
				}
			}
			if err := b.adoptWills(ctx, a, wills); err != nil {
				return err
			}
			if len(page) < pageSize {
				break
			}
		}
	}
	return nil
}

// adoptWills makes wills this start's own, so that who comes after it finds those whose delay it did not live to see, and publishes them.
// One that another node adopted, or that is gone, is passed over.
func (b *Broker) adoptWills(ctx context.Context, a *app, wills []*storedWill) error {
	if len(wills) == 0 {
		return nil
	}
	batch := &Batch{}
	self, claim := b.self(), ""
	if b.cluster != nil {
		claim = b.cluster.newClaim()
	}
	for _, w := range wills {
		had := w.value
		w.Incarnation = self
		w.value = mustJSON(w)
		batch.Writes = append(batch.Writes, Write{Key: w.key, Value: w.value, If: IfEqual, Have: had})
	}
	batch, err := b.commit(ctx, batch)
	if err != nil {
		return fmt.Errorf("adopt wills: %w", err)
	}
	for i, w := range wills {
		if !batch.Writes[i].Conflict {
			b.publishLeftWill(a, w, claim)
		}
	}
	return nil
}

// publishLeftWill publishes a will as the incarnation of claim.
func (b *Broker) publishLeftWill(a *app, w *storedWill, claim string) {
	s := &Session{
		b: b, app: a, peer: w.Peer, device: w.Device, clientID: string(w.Peer) + "/" + string(w.Device),
		remote: w.Address, since: w.Since, claim: claim, will: &w.Will, willStored: w.value, willDelay: time.Duration(w.Delay) * time.Millisecond, expiry: time.Duration(w.Delay) * time.Millisecond,
		willExpiry: time.Duration(w.Expiry) * time.Millisecond,
	}
	s.publishWill()
}

// appendAndDeliver commits one append, delivers it and then tells the outcome.
func (b *Broker) appendAndDeliver(a Append, done func(*Append, error)) {
	batch := &Batch{Appends: []Append{a}}
	batch.Done = func(batch *Batch, err error) {
		if err == nil {
			wakeAll(b.deliver(batch.Appends))
		}
		done(&batch.Appends[0], err)
	}
	b.store.Commit(batch)
}
