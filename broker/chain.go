package broker

import (
	"errors"
	"sync/atomic"
)

// Chain ties batches whose order matters together: when one fails, those behind it fail as well, also when the store is well again
// by then, until one that renews the chain is done. Its batches are committed one after the other.
type Chain struct{ broken atomic.Bool }

// ErrChainBroken says that a batch was not done, because an earlier one of its chain failed.
var ErrChainBroken = errors.New("an earlier batch failed")

// Turn is asked by stores when a batch's turn has come, in the order of Commit. With an error nothing of the batch may be done.
func (b *Batch) Turn() error {
	switch {
	case b.refusal != nil:
		return b.refusal
	case b.Chain == nil:
	case b.Renews:
		b.Chain.broken.Store(false)
	case b.Chain.broken.Load():
		return ErrChainBroken
	}
	return nil
}

// Failed is told by stores of each batch that failed, before the turn of the next.
func (b *Batch) Failed() {
	if b.Chain != nil {
		b.Chain.broken.Store(true)
	}
}
