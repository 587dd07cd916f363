package broker

import (
	"context"
	"strings"
	"sync"
	"time"
)

// A group's members are changed by one node at a time: who holds its lock. It ends by itself, and is taken from a node that is dead.
// Beside the lock stands its holder's fence, which goes with it: what the holder appends to the group's log requires the fence, and what
// it writes about the group is guarded by the lock. So a node that stood still while it held the lock changes nothing afterwards.

const (
	groupLockFor  = 20 * time.Second
	groupLockPoll = 20 * time.Millisecond
)

var errGroupBusy = Errorf(Internal, "the group is being changed by another server; nothing was accepted, try again")

// groupLock is a hold of a group's lock. Without a cluster it is a lock of the process alone.
type groupLock struct {
	b     *Broker
	local *sync.Mutex
	key   Key    // zero without a cluster
	token []byte // names the node and this hold
}

// lockGroup makes this node the one that may change a group's members; unlock follows. When ctx ends before the lock is free it returns
// errGroupBusy.
func (b *Broker) lockGroup(ctx context.Context, k groupKey) (*groupLock, error) {
	l := &groupLock{b: b, local: b.changing(k)}
	l.local.Lock()
	if b.cluster == nil {
		return l, nil
	}
	l.key = Key{Space: SpaceServer, App: k.app, Owner: string(k.group), Name: "lock"}
	l.token = []byte(b.cluster.newClaim())
	if err := l.take(ctx); err != nil {
		l.unlock() // what was sent may still take effect
		return nil, err
	}
	return l, nil
}

func (l *groupLock) take(ctx context.Context) error {
	poll := time.NewTicker(groupLockPoll)
	defer poll.Stop()
	var dead []byte // a dead node's token, that stands in the way
	for {
		if ctx.Err() != nil {
			return errGroupBusy
		}
		batch, err := l.b.commit(ctx, &Batch{Writes: l.taking(dead)})
		if err != nil {
			return err
		}
		lock := batch.Writes[0]
		if !lock.Conflict {
			return nil
		}
		dead = nil
		if node, _, _ := strings.Cut(string(lock.Current), "\x02"); l.b.cluster.knownGone(NodeID(node)) {
			dead = lock.Current
			continue
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
		}
	}
}

// taking is what takes the lock: it is free, or stands for a dead node, whose fence goes with it.
func (l *groupLock) taking(dead []byte) []Write {
	expires := l.b.now().Add(groupLockFor).UnixMilli()
	lock := Write{Key: l.key, Value: l.token, Expires: expires, If: IfAbsent}
	if dead != nil {
		lock.If, lock.Have = IfEqual, dead
	}
	writes := []Write{lock, l.guarded(Write{Key: l.fence(l.token), Value: l.token, Expires: expires})}
	if dead != nil {
		writes = append(writes, l.guarded(Write{Key: l.fence(dead)}))
	}
	return writes
}

func (l *groupLock) fence(token []byte) Key {
	fence := l.key
	fence.Name += "\x00" + string(token)
	return fence
}

// fenced makes an append to the group's log hold only while the lock does.
func (l *groupLock) fenced(a Append) Append {
	if l.key.Space != 0 {
		a.Require = l.fence(l.token)
	}
	return a
}

// guarded does that for a write of a record whose owner is the group.
func (l *groupLock) guarded(w Write) Write {
	if l.key.Space != 0 {
		w.Guard, w.GuardHas = l.key, l.token
	}
	return w
}

func (l *groupLock) unlock() {
	if l.key.Space != 0 {
		l.b.commitLazily(&Batch{Writes: []Write{{Key: l.fence(l.token)}, {Key: l.key, If: IfEqual, Have: l.token}}}, nil)
	}
	l.local.Unlock()
}
