package broker

import (
	"context"
	"hash/maphash"
	"slices"
	"sync"
	"time"
)

const (
	shardCount   = 128
	openingLocks = 1024
)

type peerKey struct {
	app  AppID
	peer PeerID
}

// shard holds the peers of one part of the registry. Its lock is taken before a session's, never after.
type shard struct {
	mu    sync.Mutex
	peers map[peerKey]*peer
}

// peer is what the node knows of a peer that is online here, is watched from here, or has just left. It is guarded by its
// shard's lock and goes away when none of these holds.
type peer struct {
	key      peerKey
	sessions []*Session            // connected
	closing  []*Session            // ended, their device record not stored yet
	watchers map[*Session]struct{} // connected sessions that watch this peer
	devices  []DeviceID            // known devices, connected or not; valid while sessions is not empty
	far      *furthest             // made with the first session
	online   bool                  // as watchers were told
	changed  int64                 // when online last changed, in Unix milliseconds
	grace    *time.Timer           // holds offline back; nil when not

	// In a cluster:
	away  []held // its devices at other nodes, as last read
	known bool   // away was read since this entry was made
	used  int64  // when away was needed last though nobody here is or watches the peer (cluster.seconds); 0: not
}

func (b *Broker) shardOf(key peerKey) *shard {
	return &b.shards[maphash.Comparable(b.seed, key)%shardCount]
}

func (b *Broker) openingLock(key peerKey) *sync.Mutex {
	return &b.opening[maphash.Comparable(b.seed, key)%openingLocks]
}

// get returns the peer, made if it is not there. The shard must be locked; release follows once what was wanted is noted in it.
func (sh *shard) get(key peerKey) *peer {
	p := sh.peers[key]
	if p == nil {
		if sh.peers == nil {
			sh.peers = make(map[peerKey]*peer)
		}
		p = &peer{key: key}
		sh.peers[key] = p
	}
	return p
}

// release forgets the peer if nothing keeps it.
func (sh *shard) release(p *peer) {
	if len(p.sessions) == 0 && len(p.closing) == 0 && len(p.watchers) == 0 && p.grace == nil && p.used == 0 {
		delete(sh.peers, p.key)
	}
}

// sessionOf returns the device's session: the connected one, or one that ended and is not stored yet.
func (p *peer) sessionOf(device DeviceID) *Session {
	for _, list := range [2][]*Session{p.sessions, p.closing} {
		for _, s := range slices.Backward(list) { // the newest is the one that knows
			if s.device == device {
				return s
			}
		}
	}
	return nil
}

func (p *peer) knows(device DeviceID) bool { return slices.Contains(p.devices, device) }

func remove(list []*Session, s *Session) []*Session {
	if i := slices.Index(list, s); i >= 0 {
		return slices.Delete(list, i, i+1)
	}
	return list
}

// connected returns the peer's connected sessions; buf is reused when it is large enough.
func (b *Broker) connected(key peerKey, buf []*Session) []*Session {
	sh := b.shardOf(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if p := sh.peers[key]; p != nil {
		return append(buf, p.sessions...)
	}
	return buf
}

// isLeaving reports whether a peer has sessions that ended and are not stored yet.
func (b *Broker) isLeaving(key peerKey) bool {
	sh := b.shardOf(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	p := sh.peers[key]
	return p != nil && len(p.closing) > 0
}

func (b *Broker) allSessions() []*Session {
	var all []*Session
	for i := range b.shards {
		sh := &b.shards[i]
		sh.mu.Lock()
		for _, p := range sh.peers {
			all = append(all, p.sessions...)
		}
		sh.mu.Unlock()
	}
	return all
}

func (b *Broker) isOnline(key peerKey) bool {
	sh := b.shardOf(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if p := sh.peers[key]; p != nil {
		return p.online
	}
	return false
}

// Online returns those of peers that are online, in the order asked.
func (b *Broker) Online(ctx context.Context, app AppID, peers []PeerID) ([]PeerID, error) {
	if b.cluster != nil {
		if err := b.cluster.ensure(ctx, app, peers); err != nil {
			return nil, err
		}
	}
	online := []PeerID{}
	for _, p := range peers {
		if b.isOnline(peerKey{app, p}) {
			online = append(online, p)
		}
	}
	return online, nil
}
