package broker

import "context"

// NodeID names one start of a node: its name and the incarnation made at that start.
type NodeID string

// Bus carries notes between the nodes that share a store, so that one hears at once what another wrote. It is a wake-up and a fast
// path, never the truth: a note may be lost, and what it told is then found in the store. Its methods are safe for concurrent use.
type Bus interface {
	// Send queues a note for a node and returns at once. Notes to one node arrive in the order sent, those that arrive. What cannot be
	// queued or sent is dropped, and the node hears of the loss with the next note that arrives. The note must not be changed
	// afterwards; it may be sent to several nodes.
	Send(to NodeID, note []byte)
	// Run receives what is sent to self until ctx ends, and sends as self. It connects again by itself, for ever. It is called again,
	// with a new self, after it returned.
	Run(ctx context.Context, self NodeID, r BusReceiver) error
}

// BusReceiver takes what a Bus delivers. Its methods are called by one goroutine and must not block.
type BusReceiver interface {
	// Receive takes a note, which is not kept after it returns.
	Receive(from NodeID, note []byte)
	// Lost tells that notes may have been lost: of one node, or of any when from is empty.
	Lost(from NodeID)
}
