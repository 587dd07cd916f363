package pebblestore

import (
	"sync"

	"kith/broker"
)

// A group is at most what the queue holds. While one is synced the next gathers. Once that is large it is written and
// joins the other in flight: so the disk and the processor are busy at once, instead of all publishers waiting for one sync after
// the other. A small one waits for the sync: it would cost a write, a sync and three switches of goroutines for a few messages.
const (
	queueCount = 1024
	queueBytes = 4 << 20
	largeCount = queueCount / 16
	largeBytes = queueBytes / 16
	inFlight   = 3
)

// item is a place in the queue: a batch, or the store's own work.
type item struct {
	batch *broker.Batch
	sweep *sweepStep
	flush bool        // make everything before it durable, whatever the settings say
	told  func(error) // the outcome of the store's own work
	err   error       // what is wrong with this item alone
}

// failed tells the batch that it is not done.
func (it *item) failed() {
	if it.batch != nil {
		it.batch.Failed()
	}
}

// queue stands between the callers of Commit and the committer. Its policy when full: callers wait.
type queue struct {
	mu    sync.Mutex
	work  sync.Cond // the committer waits for items or a free place in flight
	space sync.Cond // callers wait for room

	items  []item
	spare  []item // the slice that the last finished group left
	count  int
	bytes  int
	flying int // groups taken and not finished
	// blocked is how many callers wait for room. A Done function may be one, and so the group in flight not end before there is some.
	blocked int
	// telling is set while Done functions run. They may call Commit, and the committer may be waiting for them to return:
	// then Commit must not wait for the committer.
	telling bool
	closed  bool
}

func (q *queue) init() {
	q.work.L, q.space.L = &q.mu, &q.mu
}

// put reports false when the queue is closed. The store's own work does not wait.
func (q *queue) put(it item, count, bytes int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for it.batch != nil && !q.closed && q.full(count, bytes) && (!q.telling || q.flying < inFlight) {
		q.blocked++
		q.work.Signal()
		q.space.Wait()
		q.blocked--
	}
	if q.closed {
		return false
	}
	q.items = append(q.items, it)
	q.count += count
	q.bytes += bytes
	if len(q.items) == 1 || q.ripe() {
		q.work.Signal()
	}
	return true
}

func (q *queue) full(count, bytes int) bool {
	return len(q.items) > 0 && (q.count+count > queueCount || q.bytes+bytes > queueBytes)
}

// take returns everything queued, or nil after close when nothing is left.
func (q *queue) take() []item {
	q.mu.Lock()
	defer q.mu.Unlock()
	for (len(q.items) == 0 && !q.closed) || !q.ripe() {
		q.work.Wait()
	}
	if len(q.items) == 0 {
		return nil
	}
	items := q.items
	q.items, q.spare = q.spare, nil
	q.count, q.bytes = 0, 0
	q.flying++
	q.space.Broadcast()
	return items
}

// ripe reports whether what is queued should be written now.
func (q *queue) ripe() bool {
	return q.flying == 0 || q.flying < inFlight && (q.count >= largeCount || q.bytes >= largeBytes || q.blocked > 0 || q.closed)
}

// fly takes one more place in flight, for items that are written as more than one group.
func (q *queue) fly() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.flying >= inFlight {
		q.work.Wait()
	}
	q.flying++
	q.space.Broadcast() // a Done function that waits for room may now have to pass
}

// tell marks the time in which Done functions run.
func (q *queue) tell() {
	q.mu.Lock()
	q.telling = true
	q.mu.Unlock()
}

// landed says that a group is finished. The last group of what take returned gives that slice back.
func (q *queue) landed(taken []item) {
	clear(taken)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.telling = false
	q.flying--
	if cap(taken) > cap(q.spare) {
		q.spare = taken[:0]
	}
	q.work.Signal()
}

func (q *queue) length() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items)
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.work.Signal()
	q.space.Broadcast()
}
