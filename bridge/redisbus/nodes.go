package redisbus

import (
	"time"

	"kith/broker"
)

const (
	// maxNodes bounds the nodes of which something is remembered. A node that starts again is another one.
	maxNodes = 1024
	// forgetAfter is how long a node is remembered that nothing is heard of.
	forgetAfter = time.Hour
)

// idler is something that is remembered of a node.
type idler interface {
	// idle tells since when it was not used, and whether it may be forgotten.
	idle() (since time.Time, ok bool)
}

// makeRoom forgets nodes that were idle for long, and one more when there are still too many. It fails when none may be forgotten.
func makeRoom[T idler](nodes map[broker.NodeID]T, now time.Time) bool {
	var oldest broker.NodeID
	var oldestSince time.Time
	for id, node := range nodes {
		since, ok := node.idle()
		switch {
		case !ok:
		case now.Sub(since) > forgetAfter:
			delete(nodes, id)
		case oldest == "" || since.Before(oldestSince):
			oldest, oldestSince = id, since
		}
	}
	if len(nodes) >= maxNodes && oldest != "" {
		delete(nodes, oldest)
	}
	return len(nodes) < maxNodes
}
