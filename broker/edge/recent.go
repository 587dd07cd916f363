package edge

import (
	"container/list"
	"net/netip"
)

// Recent remembers a T of each subscriber, of at most Max; past that the one unheard of for longest is forgotten. It is not safe
// for concurrent use.
type Recent[T any] struct {
	Max int

	of    map[netip.Prefix]*list.Element
	order list.List // of *remembered[T], last heard of first
}

type remembered[T any] struct {
	from  netip.Prefix
	value T
}

// Get returns what is remembered of the address's subscriber; nil for nothing.
func (r *Recent[T]) Get(addr netip.Addr) *T {
	if e, ok := r.of[Subscriber(addr)]; ok {
		return &e.Value.(*remembered[T]).value
	}
	return nil
}

// Heard is Get of a subscriber that was heard of just now: a new one starts with the zero T.
func (r *Recent[T]) Heard(addr netip.Addr) *T {
	from := Subscriber(addr)
	e, ok := r.of[from]
	if !ok {
		if r.of == nil {
			r.of = make(map[netip.Prefix]*list.Element)
		}
		if r.order.Len() >= r.Max {
			delete(r.of, r.order.Remove(r.order.Back()).(*remembered[T]).from)
		}
		e = r.order.PushFront(&remembered[T]{from: from})
		r.of[from] = e
	}
	r.order.MoveToFront(e)
	return &e.Value.(*remembered[T]).value
}
