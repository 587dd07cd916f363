package broker

import "slices"

// fifo is a queue in one slice: taking from the front moves a mark, and the slice is closed up only now and then.
type fifo[T any] struct {
	items []T
	head  int
}

func (q *fifo[T]) len() int { return len(q.items) - q.head }

func (q *fifo[T]) push(v T) { q.items = append(q.items, v) }

// at returns the i-th from the front.
func (q *fifo[T]) at(i int) *T { return &q.items[q.head+i] }

// all returns what is queued, valid until the next push or drop.
func (q *fifo[T]) all() []T { return q.items[q.head:] }

// drop takes n from the front.
func (q *fifo[T]) drop(n int) {
	clear(q.items[q.head : q.head+n])
	q.head += n
	switch {
	case q.head == len(q.items):
		q.head = 0
		if cap(q.items) > 64 {
			q.items = nil // an idle session keeps no large queue
		} else {
			q.items = q.items[:0]
		}
	case q.head > 32 && q.head > len(q.items)/2:
		q.items = slices.Delete(q.items, 0, q.head)
		q.head = 0
	}
}

// filter keeps what keep says yes to.
func (q *fifo[T]) filter(keep func(*T) bool) {
	kept := q.items[:0]
	for i := range q.all() {
		if v := q.at(i); keep(v) {
			kept = append(kept, *v)
		}
	}
	clear(q.items[len(kept):])
	q.items, q.head = kept, 0
}
