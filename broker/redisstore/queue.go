package redisstore

import (
	"sync"

	"kith/broker"
)

// A group is at most what the queue holds. More in one pipeline would make every publisher of it wait for the last one.
const (
	queueCount = 1024
	queueBytes = 4 << 20
	inFlight   = 3
)

// item is a place in the queue: a batch and what is wrong with it.
type item struct {
	batch *broker.Batch
	err   error
	posts []post // of the batch's appends, while its group runs
}

// fail keeps the first error.
func (it *item) fail(err error) {
	if it.err == nil {
		it.err = err
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
	flying int // taken and not yet told
	// telling is set while Done functions run. They may call Commit, and the committer may be waiting for them to return:
	// then Commit must not wait for the committer.
	telling bool
	closed  bool
}

func (q *queue) init() { q.work.L, q.space.L = &q.mu, &q.mu }

// put reports false when the queue is closed.
func (q *queue) put(it item, count, bytes int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for !q.closed && q.full(count, bytes) && (!q.telling || q.flying < inFlight) {
		q.space.Wait()
	}
	if q.closed {
		return false
	}
	q.items = append(q.items, it)
	q.count += count
	q.bytes += bytes
	if len(q.items) == 1 {
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
	for (len(q.items) == 0 && !q.closed) || q.flying >= inFlight {
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

// tell marks the time in which Done functions run.
func (q *queue) tell() {
	q.mu.Lock()
	q.telling = true
	q.space.Broadcast() // a Done function that waits for room may now have to pass
	q.mu.Unlock()
}

// landed gives back what take returned, after all of it was told.
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

// length is how many items wait.
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
