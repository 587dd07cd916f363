package broker

import (
	"context"
	"encoding/binary"
	"time"
)

const (
	// compareEvery is how often the ends of the logs are compared with what was offered here: the most that a lost note can cost.
	compareEvery = 5 * time.Second
	// compareTick is how often sessions that have just opened are, since a note may have crossed with their coming.
	compareTick = 250 * time.Millisecond
	// compareAtOnce is how many ends are read together.
	compareAtOnce = 1000
)

// compareLoop finds what no note told.
func (c *cluster) compareLoop(ctx context.Context) {
	tick := time.NewTicker(compareTick)
	defer tick.Stop()
	last, lost := time.Now(), false
	before := c.b.now().UnixMilli()
	for {
		select {
		case <-tick.C:
		case <-c.resync:
			lost = true
			continue // with the next tick: many losses are one
		case <-ctx.Done():
			return
		}
		now := c.b.now().UnixMilli()
		all := lost || time.Since(last) >= compareEvery
		if all {
			last = time.Now()
		}
		err := c.compare(ctx, all, before)
		if lost && err == nil {
			err = c.relearn(ctx)
		}
		if err != nil {
			if ctx.Err() == nil {
				c.b.log.Warn("logs could not be compared with the store; trying again", "err", err)
			}
			continue
		}
		before, lost = now, false
		if all {
			c.forgetUnused(ctx)
		}
	}
}

// compare reads where the logs of the sessions here end, of all or of those opened since before (Unix milliseconds), and has who is behind
// read them.
func (c *cluster) compare(ctx context.Context, all bool, before int64) error {
	var logs []LogID
	var of []*Session
	flush := func() error {
		err := c.compareSome(ctx, logs, of)
		logs, of = logs[:0], of[:0]
		return err
	}
	for _, s := range c.b.allSessions() {
		if s.mode == receiveNone || !all && s.since < before {
			continue
		}
		for _, kind := range [2]LogKind{LogInbox, LogEvents} {
			logs, of = append(logs, LogID{kind, s.app.id, string(s.peer)}), append(of, s)
		}
		if len(logs) >= compareAtOnce {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := flush(); err != nil || !all {
		return err
	}
	return c.compareGroups(ctx)
}

func (c *cluster) compareSome(ctx context.Context, logs []LogID, of []*Session) error {
	if len(logs) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeReadDeadline)
	defer cancel()
	last, err := c.b.store.Last(ctx, logs)
	if err != nil {
		return err
	}
	var wake []*Session
	told := make(map[AppID][]PeerID) // of whose events some were not heard: one may tell of a group
	for i, s := range of {
		if s.raise(logs[i], last[i].N) {
			wake = append(wake, s)
		}
		if logs[i].Kind == LogEvents && s.misses(logs[i], last[i].N) {
			told[s.app.id] = append(told[s.app.id], s.peer)
		}
	}
	wakeAll(wake)
	for app, peers := range told {
		go c.b.reconcile(app, peers) //nolint:gosec // it has a deadline of its own and is not to hold up the comparison
	}
	return nil
}

// compareGroups does the same for the groups with members here, each once.
func (c *cluster) compareGroups(ctx context.Context) error {
	var keys []groupKey
	for i := range c.b.groups {
		sh := &c.b.groups[i]
		sh.mu.Lock()
		for k, live := range sh.groups {
			if len(live.sessions) > 0 && !live.open {
				keys = append(keys, k)
			}
		}
		sh.mu.Unlock()
	}
	for len(keys) > 0 {
		part := keys[:min(len(keys), compareAtOnce)]
		keys = keys[len(part):]
		logs := make([]LogID, len(part))
		for i, k := range part {
			logs[i] = groupLog(k)
		}
		ctx, cancel := context.WithTimeout(ctx, storeReadDeadline)
		last, err := c.b.store.Last(ctx, logs)
		cancel()
		if err != nil {
			return err
		}
		for i, k := range part {
			live := c.b.liveHere(k)
			if live == nil {
				continue
			}
			live.sequence.mu.Lock()
			if !live.sequence.placed || last[i].ID.Compare(live.sequence.at) > 0 {
				c.b.catchUpGroup(k, live)
			}
			live.sequence.mu.Unlock()
		}
	}
	return nil
}

// relearn reads all whereabouts again that are kept here, and ends sessions that were kicked, after notes were lost.
func (c *cluster) relearn(ctx context.Context) error {
	var keys []Key
	for i := range c.b.shards {
		sh := &c.b.shards[i]
		sh.mu.Lock()
		for k := range sh.peers {
			keys = append(keys, whereKey(k))
		}
		sh.mu.Unlock()
	}
	for i := range c.b.groups {
		sh := &c.b.groups[i]
		sh.mu.Lock()
		for k := range sh.groups {
			keys = append(keys, groupWhereKey(k))
		}
		sh.mu.Unlock()
	}
	c.learn.add(keys...)
	if err := c.b.LoadRetained(ctx); err != nil {
		return err
	}
	return c.endKicked(ctx)
}

// endKicked ends sessions whose device or peer was kicked, or banned, since they opened.
func (c *cluster) endKicked(ctx context.Context) error {
	sessions := c.b.allSessions()
	for len(sessions) > 0 {
		part := sessions[:min(len(sessions), compareAtOnce)]
		sessions = sessions[len(part):]
		keys := make([]Key, 0, 2*len(part))
		for _, s := range part {
			keys = append(keys, endedKey(s.app.id, s.peer, ""), endedKey(s.app.id, s.peer, s.device))
		}
		ctx, cancel := context.WithTimeout(ctx, storeReadDeadline)
		values, err := c.b.store.Get(ctx, keys)
		cancel()
		if err != nil {
			return err
		}
		for i, v := range values {
			if s := part[i/2]; len(v) == 8 && int64(binary.BigEndian.Uint64(v)) >= s.since { //nolint:gosec // milliseconds
				s.link.Close(CloseKicked)
			}
		}
	}
	return nil
}
