package broker

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Where a peer is, and where a group has members connected, is a record: lines of a device and the claim of the node that holds it, or of
// nodes. It is changed by compare-and-set alone, so that a device is held by one node at a time, and what a session writes about its
// device is guarded by its line. Who changed it tells all nodes that it did; those that care read it again.

// claimDeadline bounds how long an open waits for the node that holds the device.
const claimDeadline = 6 * time.Second

const (
	// introduceWait bounds how long an open waits until the nodes that hold the peer's other devices know of it.
	introduceWait = 2 * time.Second
	// introduceDeadline bounds how long it is told to them in the background then.
	introduceDeadline = time.Minute
)

var errHeld = Errorf(Internal, "another server still holds this device's session; connect again in a moment")

// held is one line of a peer's whereabouts.
type held struct {
	device DeviceID
	node   NodeID
	claim  string // the node, and what tells its sessions apart
}

func whereKey(key peerKey) Key {
	return Key{Space: SpaceWhere, App: key.app, Owner: string(key.peer), Name: "p"}
}

func groupWhereKey(k groupKey) Key {
	return Key{Space: SpaceWhere, App: k.app, Owner: string(k.group), Name: "g"}
}

// line is what stands for a claim in the record; a guard looks for it.
func (h *held) line() string { return "\n" + string(h.device) + "\x01" + h.claim + "\n" }

func encodeWhere(list []held) []byte {
	if len(list) == 0 {
		return nil
	}
	var b strings.Builder
	for i := range list {
		b.WriteString(list[i].line())
	}
	return []byte(b.String())
}

func decodeWhere(value []byte) (list []held) {
	for line := range strings.SplitSeq(string(value), "\n") {
		device, claim, ok := strings.Cut(line, "\x01")
		node, _, marked := strings.Cut(claim, "\x02")
		if ok && marked {
			list = append(list, held{DeviceID(device), NodeID(node), claim})
		}
	}
	return list
}

// newClaim makes the claim of a session.
func (c *cluster) newClaim() string {
	return string(c.id()) + "\x02" + strconv.FormatUint(c.b.ids.Next().clock(), 36)
}

// made reports whether a claim is of this incarnation.
func (c *cluster) made(claim string) bool { return strings.HasPrefix(claim, string(c.id())+"\x02") }

// claim makes this node the holder of the session's device. Another that holds it is asked to end its session first; from one that is
// dead it is taken.
func (c *cluster) claim(ctx context.Context, s *Session) error {
	ctx, cancel := context.WithTimeout(ctx, claimDeadline)
	defer cancel()
	mine := held{s.device, c.id(), s.claim}
	values, err := c.b.store.Get(ctx, []Key{whereKey(s.key())})
	if err != nil {
		return err
	}
	value := values[0]
	for {
		list := decodeWhere(value)
		var next []held
		for _, h := range list {
			switch {
			case h.device != s.device && !c.knownGone(h.node):
				next = append(next, h)
			case h.device != s.device || h.node == mine.node:
			default:
				if err := c.release(ctx, s.key(), h); err != nil {
					return err
				}
				s.moved = true
			}
		}
		batch, err := c.b.commit(ctx, &Batch{Writes: []Write{condition(whereKey(s.key()), value, encodeWhere(append(next, mine)))}})
		if err != nil {
			c.unclaimLater(s.key(), mine, claimDeadline) // it may have taken effect, or do so still
			return err
		}
		if w := batch.Writes[0]; w.Conflict {
			value = w.Current
			continue
		}
		s.others = next
		c.learn.add(whereKey(s.key()))
		c.tellWhere(whereKey(s.key()))
		c.introduce(ctx, s)
		return nil
	}
}

// introduce has the nodes that hold the peer's other devices know of this one before its client hears that it is there: what they send
// from then on is copied to it. A note alone may be lost. While a node does not answer the session opens nevertheless, after a while.
func (c *cluster) introduce(ctx context.Context, s *Session) {
	away := c.notHere(s.others)
	if len(away) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, introduceWait)
	defer cancel()
	known := make(chan struct{}, len(away))
	for _, h := range away {
		go func() {
			c.introduceTo(s, h)
			known <- struct{}{}
		}()
	}
	for range away {
		select {
		case <-known:
		case <-ctx.Done():
			c.b.log.Warn("a node does not answer; what a peer's device there sends is not copied to its new device yet", "app", s.app.id, "peer", s.peer)
			return
		}
	}
}

func (c *cluster) introduceTo(s *Session, h held) {
	ctx, cancel := context.WithTimeout(context.Background(), introduceDeadline)
	defer cancel()
	for !c.isGone(ctx, h.node) {
		q := &question{App: s.app.id, Peer: s.peer, Device: s.device, Claim: h.claim}
		if _, err := c.ask(ctx, h.node, askMeet, q); err == nil {
			return
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-s.gone:
			return
		case <-ctx.Done():
			return
		}
	}
}

// met notes that a device of a peer that is here has opened at another node, once the session here that its claim names is open.
func (c *cluster) met(ctx context.Context, key peerKey, device DeviceID, claim string) {
	c.awaitOpened(ctx, claim)
	sh := c.b.shardOf(key)
	sh.mu.Lock()
	if p := sh.peers[key]; p != nil && len(p.sessions) > 0 && !p.knows(device) {
		p.devices = append(p.devices, device)
	}
	sh.mu.Unlock()
	c.learn.add(whereKey(key))
}

// opens notes that a session with a claim of its own is about to be there; opened follows.
func (c *cluster) opens(s *Session) (claim string) {
	s.claim = c.newClaim()
	c.openingLock.Lock()
	defer c.openingLock.Unlock()
	c.opening[s.claim] = make(chan struct{})
	return s.claim
}

func (c *cluster) opened(claim string) {
	c.openingLock.Lock()
	defer c.openingLock.Unlock()
	close(c.opening[claim])
	delete(c.opening, claim)
}

// awaitOpened waits while a session with that claim is on its way.
func (c *cluster) awaitOpened(ctx context.Context, claim string) {
	c.openingLock.Lock()
	open := c.opening[claim]
	c.openingLock.Unlock()
	if open == nil {
		return
	}
	select {
	case <-open:
	case <-ctx.Done():
	}
}

// condition writes next over value, by compare-and-set.
func condition(key Key, value, next []byte) Write {
	if value == nil {
		return Write{Key: key, Value: next, If: IfAbsent}
	}
	return Write{Key: key, Value: next, If: IfEqual, Have: value}
}

// knownGone is isGone without a look at the store: lines of dead nodes are dropped as they are met.
func (c *cluster) knownGone(id NodeID) bool {
	c.nodes.mu.Lock()
	defer c.nodes.mu.Unlock()
	n := c.nodes.known[id]
	return n != nil && n.rec.Gone != 0 && n.gone
}

// release asks the holder of a device to end its session, and waits until all that came of it is stored, or until the holder is dead.
func (c *cluster) release(ctx context.Context, key peerKey, h held) error {
	for !c.isGone(ctx, h.node) {
		err := c.askRelease(ctx, key, h)
		if err == nil {
			return nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			c.b.log.Info("a device is still held by another node", "app", key.app, "peer", key.peer, "device", h.device, "node", h.node)
			return errHeld
		}
	}
	return nil
}

// released answers askRelease: it ends the session of that claim and stores what it leaves. Its line stands until the asking node
// has put its own in its place, or, should that never do so, for a while.
func (c *cluster) released(ctx context.Context, key peerKey, device DeviceID, claim string) error {
	c.awaitOpened(ctx, claim)
	s := c.b.sessionHere(key, device)
	if s == nil || s.claim != claim {
		c.unclaimLater(key, held{device, c.id(), claim}, claimDeadline)
		return nil
	}
	if s.finish(EndServer) {
		defer c.unclaimLater(key, held{device, c.id(), claim}, claimDeadline)
		s.link.Close(CloseTakenOver)
		s.awaitCommitted(ctx)
		c.b.depart(s, claimDeadline)
		s.ending.Lock()
		defer s.ending.Unlock()
		return c.b.storeEndedAndWait(ctx, s)
	}
	s.ending.Lock() // what it leaves is on its way
	defer s.ending.Unlock()
	_, err := c.b.commit(ctx, &Batch{})
	return err
}

// unclaim takes a session's line out of its peer's whereabouts.
func (c *cluster) unclaim(ctx context.Context, key peerKey, mine held) error {
	return c.changeWhere(ctx, whereKey(key), func(list []held) ([]held, bool) {
		i := slices.IndexFunc(list, func(h held) bool { return h.device == mine.device && h.claim == mine.claim })
		if i < 0 {
			return nil, false
		}
		return slices.Delete(list, i, i+1), true
	})
}

// changeWhere changes a record of whereabouts and tells the nodes; change returns false when there is nothing to do.
func (c *cluster) changeWhere(ctx context.Context, key Key, change func([]held) ([]held, bool)) error {
	values, err := c.b.store.Get(ctx, []Key{key})
	if err != nil {
		return err
	}
	value := values[0]
	for {
		next, changed := change(decodeWhere(value))
		if !changed {
			return nil
		}
		batch, err := c.b.commit(ctx, &Batch{Writes: []Write{condition(key, value, encodeWhere(next))}})
		if err != nil {
			return err
		}
		if w := batch.Writes[0]; w.Conflict {
			value = w.Current
			continue
		}
		c.learn.add(key)
		c.tellWhere(key)
		return nil
	}
}

// unclaimAgain is how long after a failure a line is tried again to be taken out.
const unclaimAgain = time.Second

// unclaimLater does that in the background, after a while, and again while the store is away: the line would show the peer online for as
// long as this node lives. Once it is gone, who buries it takes its lines out.
func (c *cluster) unclaimLater(key peerKey, mine held, after time.Duration) {
	time.AfterFunc(after, func() {
		ctx, cancel := context.WithTimeout(context.Background(), requestDeadline)
		defer cancel()
		if err := c.unclaim(ctx, key, mine); err != nil && !errors.Is(err, ErrStoreClosed) {
			c.b.log.Warn("whereabouts could not be stored", "app", key.app, "peer", key.peer, "err", err)
			if mine.node == c.id() {
				c.unclaimLater(key, mine, unclaimAgain)
			}
		}
	})
}

// clearWhereabouts takes the lines of a dead node out of all records.
func (c *cluster) clearWhereabouts(ctx context.Context, node NodeID) error {
	for _, a := range *c.b.apps.Load() {
		var after Key
		for {
			page, err := c.b.store.List(ctx, ListQuery{Space: SpaceWhere, App: a.id, After: after, Limit: 1000})
			if err != nil {
				return err
			}
			for _, r := range page {
				after = r.Key
				if !slices.ContainsFunc(decodeWhere(r.Value), func(h held) bool { return h.node == node }) {
					continue
				}
				err := c.changeWhere(ctx, r.Key, func(list []held) ([]held, bool) {
					n := len(list)
					list = slices.DeleteFunc(list, func(h held) bool { return h.node == node })
					return list, len(list) < n
				})
				if err != nil {
					return err
				}
			}
			if len(page) < 1000 {
				break
			}
		}
	}
	return nil
}

// tellWhere tells the other nodes that a record of whereabouts changed.
func (c *cluster) tellWhere(key Key) {
	others := c.others()
	if len(others) == 0 {
		return
	}
	note := appendField(appendField(appendField([]byte{byte(noteWhere)}, string(key.App)), key.Owner), key.Name)
	for _, id := range others {
		c.bus.Send(id, note)
	}
}

func (c *cluster) heardWhere(r *fieldReader) {
	key := Key{Space: SpaceWhere, App: AppID(r.text()), Owner: r.text(), Name: r.text()}
	if r.bad || !c.cares(key) {
		return
	}
	c.learn.add(key)
}

// cares reports whether this node keeps the whereabouts of a peer or a group.
func (c *cluster) cares(key Key) bool {
	if key.Name == "g" {
		k := groupKey{key.App, GroupID(key.Owner)}
		sh := c.b.groupShardOf(k)
		sh.mu.Lock()
		defer sh.mu.Unlock()
		return sh.groups[k] != nil
	}
	p := peerKey{key.App, PeerID(key.Owner)}
	sh := c.b.shardOf(p)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.peers[p] != nil
}
