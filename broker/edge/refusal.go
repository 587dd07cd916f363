package edge

import "kith/broker"

// The refusals that are the node's own trouble, not the client's: it can try another node, or again in a moment.
var (
	ErrMemory = broker.Errorf(broker.Internal, "this node is short of memory; nothing was accepted, try again in a moment")
	errFull   = broker.Errorf(broker.Internal, "this node has all the connections that it may; try again in a moment")
)

// IsBusy reports whether a refusal is the node's own trouble: MQTT tells it as 0x89.
func IsBusy(err *broker.Error) bool { return err == ErrMemory || err == errFull }
