// Package bench loads a Kith server with clients and measures what it does: kith bench.
//
// Every message carries the run's number, its stream, its place in the stream and the time it was due. A stream is what one
// sender publishes to one topic; each receiver of a stream checks every message against it. So a run tells exactly:
//
//	acked       the server took responsibility (PUBACK)
//	lost        acknowledged (at QoS 0: sent), and not received until nothing came any more
//	duplicated  received again
//	disordered  received after a later one of the same stream
//
// Times are from one monotonic clock, since senders and receivers are one process. With a rate, a message's time is when it
// was due, not when it was written, so that a server that stalls does not hide its stall (no coordinated omission).
//
// The generator must cost little beside the server it shares a machine with, so it has an MQTT codec of its own, for what it
// sends and expects alone: publishes are a template that is patched, a connection is one goroutine, and everything that one
// read brought is answered with one write. The client library of the other commands keeps several goroutines and a queue a
// connection and writes packet by packet: one would measure it.
package bench
