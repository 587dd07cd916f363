// Package broker is the domain of Kith: apps, peers, sessions, messages, presence and the rules between them.
// It imports no MQTT, no HTTP and no database; those packages point here.
//
// # The idea
//
// The log is the queue, and a session is a cursor. A persistent message is appended once to a log, and every device
// that should get it is a cursor that moves over its peer's logs. Live delivery, redelivery, the offline queue,
// a slow reader and a second device are one mechanism: the pump in pump.go.
//
// # Guarantees
//
//   - A persistent message is acknowledged to its sender only after [Store.Commit] says it is durable, and delivered only
//     after that. What was acknowledged is delivered at least once to every known device of its receivers, or counted
//     in a "missed" event (spec 5, 9).
//   - The order in which one sender's messages to one conversation were accepted is the order in which every
//     receiver sees them, also after reconnects and restarts.
//   - Nothing is held in memory for an absent peer. For a connected one memory is bounded: a window of
//     unacknowledged deliveries and a small queue of live ones; past that the session reads its logs again.
//   - No sender waits for a receiver. A receiver that does not read costs a place in a log.
//
// # Locks
//
// Each [Session] has one lock. The registry's shard locks are taken before a session's, never after. No such lock is held
// during a call of the store or of a [Link]. What serialises the opens of a peer, the changes of a group and the end of a session
// is held over such calls, and taken before all others.
package broker
