package broker

import (
	"context"
	"encoding/json"
	"hash/maphash"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	// maxAttributes bounds a group's attributes, in bytes of JSON (spec 7).
	maxAttributes = 4096
	// maxGroupName bounds a group's display name, in bytes.
	maxGroupName = 256
	// maxGroupsListed is the most ids that one answer lists.
	maxGroupsListed = 1000
	// rejoinFor is how long after its last connection a peer rejoins its open group (spec 7).
	rejoinFor = 30 * time.Minute
)

// Group is a group as operators see it (spec 13).
type Group struct {
	ID         GroupID         `json:"group"`
	Name       string          `json:"name"`
	Open       bool            `json:"open"`
	Creator    PeerID          `json:"creator"`
	Members    int             `json:"members"`
	Created    int64           `json:"created"` // Unix milliseconds
	Attributes json.RawMessage `json:"attributes"`
}

// groupRecord is a group as it is stored. Rev counts the changes of name and attributes.
type groupRecord struct {
	Group
	Rev uint64 `json:"rev"`
}

// Member is a member of a group.
type Member struct {
	Peer   PeerID `json:"peer"`
	Joined int64  `json:"joined"` // Unix milliseconds
}

type groupKey struct {
	app   AppID
	group GroupID
}

// groupShard holds the groups that have members connected to this node. Its lock is taken before a session's, never after.
type groupShard struct {
	mu     sync.Mutex
	groups map[groupKey]*liveGroup
}

// liveGroup is who of a group is connected here. Nothing is held for absent members.
type liveGroup struct {
	open     bool
	sessions map[*Session]struct{}
	peers    map[PeerID]int // of an open group: sessions of each peer

	// In a cluster, where it may also be kept for its nodes alone:
	sequence  sequence
	nodes     []NodeID // other nodes with members, as last read
	known     bool     // nodes was read
	announced bool     // this node is in the group's record, or about to be
	used      int64    // when nodes was needed last (cluster.seconds), or its last member here left
}

func (b *Broker) groupShardOf(key groupKey) *groupShard {
	return &b.groups[maphash.Comparable(b.seed, key)%shardCount]
}

// changing serialises the changes of one group's members.
func (b *Broker) changing(key groupKey) *sync.Mutex {
	return &b.opening[maphash.Comparable(b.seed, key)%openingLocks]
}

func groupRecordKey(k groupKey) Key {
	return Key{Space: SpaceGroup, App: k.app, Owner: string(k.group)}
}

func memberKey(k groupKey, p PeerID) Key {
	return Key{Space: SpaceMember, App: k.app, Owner: string(k.group), Name: string(p)}
}

func membershipKey(k groupKey, p PeerID) Key {
	return Key{Space: SpaceMembership, App: k.app, Owner: string(p), Name: string(k.group)}
}

func groupLog(k groupKey) LogID {
	return LogID{Kind: LogConversation, App: k.app, Owner: string(k.group)}
}

// group reads a group's record. An open group's members are counted by countOpen.
func (b *Broker) group(ctx context.Context, k groupKey) (*groupRecord, []byte, error) {
	values, err := b.store.Get(ctx, []Key{groupRecordKey(k)})
	if err != nil {
		return nil, nil, err
	}
	if values[0] == nil {
		return nil, nil, Errorf(GroupNotFound, "there is no group %s", k.group)
	}
	g := &groupRecord{}
	if err := json.Unmarshal(values[0], g); err != nil {
		return nil, nil, err
	}
	return g, values[0], nil
}

// enterGroup makes a connected session hear a group from now on.
func (b *Broker) enterGroup(s *Session, k groupKey, open bool) {
	sh := b.groupShardOf(k)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	live := sh.get(k)
	live.open = open
	if _, in := live.sessions[s]; in {
		return
	}
	live.sessions[s] = struct{}{}
	if open {
		if live.peers == nil {
			live.peers = make(map[PeerID]int)
		}
		live.peers[s.peer]++
	}
	if s.groups == nil {
		s.groups = make(map[GroupID]bool)
	}
	s.groups[k.group] = open
}

// quitGroup ends that; what of the group was not sent yet is dropped.
func (b *Broker) quitGroup(s *Session, k groupKey) {
	sh := b.groupShardOf(k)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	sh.remove(k, s)
	delete(s.groups, k.group)
	s.out.forget(groupLog(k))
	s.out.volatile.filter(func(o *Out) bool { return o.Message == nil || o.Message.Group != k.group })
}

// remove takes a session out of a group. The shard must be locked.
func (sh *groupShard) remove(k groupKey, s *Session) {
	live := sh.groups[k]
	if live == nil {
		return
	}
	if _, in := live.sessions[s]; in {
		delete(live.sessions, s)
		if live.open {
			if live.peers[s.peer]--; live.peers[s.peer] <= 0 {
				delete(live.peers, s.peer)
			}
		}
	}
	if len(live.sessions) == 0 && live.used == 0 {
		delete(sh.groups, k)
	}
}

// get returns the group, made if it is not there. The shard must be locked.
func (sh *groupShard) get(k groupKey) *liveGroup {
	live := sh.groups[k]
	if live == nil {
		live = &liveGroup{sessions: make(map[*Session]struct{})}
		if sh.groups == nil {
			sh.groups = make(map[groupKey]*liveGroup)
		}
		sh.groups[k] = live
	}
	return live
}

// quitAll takes an ended session out of its groups.
func (b *Broker) quitAll(s *Session) {
	s.mu.Lock()
	groups := make([]GroupID, 0, len(s.groups))
	for g := range s.groups {
		groups = append(groups, g)
	}
	s.mu.Unlock()
	for _, g := range groups {
		k := groupKey{s.app.id, g}
		sh := b.groupShardOf(k)
		sh.mu.Lock()
		sh.remove(k, s)
		sh.mu.Unlock()
	}
}

// forget drops a log with all that waits of it.
func (o *outbound) forget(id LogID) {
	l := o.log(id)
	if l == nil {
		return
	}
	o.unload(l)
	o.resend.filter(func(f *flight) bool {
		if f.log == l {
			delete(o.tags, f.tag)
		}
		return f.log != l
	})
	for i := range o.flights.all() {
		if f := o.flights.at(i); f.log == l {
			f.log = nil
		}
	}
	o.atOnce = slices.DeleteFunc(o.atOnce, func(p position) bool { return p.log == l })
	o.logs = slices.DeleteFunc(o.logs, func(x *logState) bool { return x == l })
}

// liveSessions returns who of a group is connected here, and whether it is an open group.
func (b *Broker) liveSessions(k groupKey) (sessions []*Session, open bool) {
	sh := b.groupShardOf(k)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	live := sh.groups[k]
	if live == nil {
		return nil, false
	}
	sessions = make([]*Session, 0, len(live.sessions))
	for s := range live.sessions {
		sessions = append(sessions, s)
	}
	return sessions, live.open
}

// offerGroup hands a durable entry of a group's log to a member's session.
func (s *Session) offerGroup(id LogID, it item) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.mode == receiveNone {
		return false
	}
	if s.out.log(id) == nil {
		if _, in := s.groups[GroupID(id.Owner)]; !in {
			return false
		}
		at := before(it.at)
		if it.msg.Kind == KindMembership {
			at.N = it.at.N
		}
		s.out.logs = append(s.out.logs, &logState{id: id, cursor: at, sent: at, loaded: at, head: at.N})
	}
	return s.offerLocked(id, it)
}

// dropIdleGroups forgets the logs of groups in which nothing waits: they come back with the group's next message, at the place before it.
// Those stay of which this node has yet to offer what the device already has, or has passed over.
func (b *Broker) dropIdleGroups(s *Session) {
	idle := s.idleGroups()
	if b.cluster != nil {
		maps.DeleteFunc(idle, func(id LogID, at MessageID) bool { return !b.offered(groupKey{id.App, GroupID(id.Owner)}, at) })
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out.logs = slices.DeleteFunc(s.out.logs, func(l *logState) bool {
		at, was := idle[l.id]
		return was && l.cursor.ID == at && l.isIdleGroup()
	})
}

// idleGroups returns how far the session is in the logs of groups in which nothing waits.
func (s *Session) idleGroups() map[LogID]MessageID {
	s.mu.Lock()
	defer s.mu.Unlock()
	idle := make(map[LogID]MessageID)
	for _, l := range s.out.logs {
		if l.isIdleGroup() {
			idle[l.id] = l.cursor.ID
		}
	}
	return idle
}

func (l *logState) isIdleGroup() bool {
	return l.id.Kind == LogConversation && l.cursor == l.saved && l.cursor.N == l.head && l.sent.N == l.head && l.loaded == l.sent
}
