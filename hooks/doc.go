// Package hooks is the MQTT side of Kith: it translates packets to calls of package broker and what sessions send to
// packets. It has no rules of its own.
//
// # The engine
//
// The engine is github.com/mochi-mqtt/server/v2, used for its decoders, for SUBSCRIBE and UNSUBSCRIBE, for CONNACK, and
// for its index of topic filters and retained messages under {app}/topic/. The listeners, the connection loop, PUBLISH and the
// acknowledgements are ours, and so are, with them, these statements of the MQTT 5 standard:
//
//   - frames and data types: 1.5.4-1, 1.5.4-2, 1.5.5-1, 2.1.3-1, 2.2.1-2 to 2.2.1-6 (frame.go, fields.go, check.go)
//   - CONNECT: 3.1.0-1, 3.1.2-1 to 3.1.2-3, 3.1.2-11 to 3.1.2-13, 3.1.2-21, 3.1.2-22, 3.1.2-24, 3.1.2-25, 3.1.2-28, 3.1.2-29,
//     3.1.4-1 to 3.1.4-6, 3.2.0-1, 3.2.0-2, 3.2.2-6, 3.2.2-7 (connect.go, auth.go)
//   - PUBLISH from the client: 3.3.1-2, 3.3.1-4, 3.3.2-1, 3.3.2-2, 3.3.2-8 to 3.3.2-12, 3.3.2-14, 3.3.4-6 to 3.3.4-9 (publish.go, packet.go)
//   - PUBLISH to the client: 3.3.1-1, 3.3.1-3, 3.3.1-8 to 3.3.1-13, 3.3.2-4 to 3.3.2-6, 3.3.2-15 to 3.3.2-20, 3.3.4-1 to 3.3.4-5,
//     3.3.4-7 (encode.go, topics.go, retained.go)
//   - acknowledgements: 3.4.2-1 to 3.4.2-3, 3.5.2-1 to 3.5.2-3, 3.6.1-1, 3.6.2-1, 3.7.2-1; with the broker's session 4.3.1-1,
//     4.3.2-1 to 4.3.2-5, 4.3.3-1 to 4.3.3-13, 4.4.0-1, 4.6.0-1 to 4.6.0-6, 4.9.0-1 to 4.9.0-3
//   - subscriptions: 3.8.3-4, 3.8.4-3 to 3.8.4-8, 3.9.2-1, 3.10.4-1 to 3.10.4-6, 4.7.1-1 to 4.7.3-1, 4.8.2-1 to 4.8.2-6
//   - the end: 3.1.2-8, 3.1.2-10, 3.12.4-1, 3.14.0-1, 3.14.1-1, 3.14.2-1 to 3.14.2-3, 3.14.4-1 to 3.14.4-3, 4.12.0-1, 4.12.0-7,
//     4.13.1-1, 4.13.2-1
//   - WebSocket: 6.0.0-1 to 6.0.0-4
//
// The engine never sees a PUBLISH, a PINGREQ, a DISCONNECT or an AUTH, and its client id is used once: its in-flight map, take-over,
// resume, session expiry, delayed wills, $SYS topics and retained expiry never run.
//
// # Memory and goroutines
//
// An idle TCP connection costs one goroutine, which waits for readability on a small stack, and no buffers. Bytes are
// read into a pooled buffer, all packets in it are handled, and then Session.Submit is called once. Writing is the work of
// flushers, which visit the connections that Wake names and encode many packets for one system call. They never wait: a full socket
// or a session behind with its log gets a goroutine of its own, which ends when there is nothing more. Memory for
// a client that does not read is bounded by one write of about 64 KB; what it is owed stays in its session's logs. A write that
// makes no progress for 20 s ends the connection.
//
// # Locks
//
// A connection's mu guards its deadlines, its output's mu the bytes of the engine; neither is held during a
// write, and of the broker only Session.Backlog is called with the latter. The output's turn is held by who writes to the connection.
// Packets are handled while the descriptor is held: only the reader may close the connection, others abort it.
package hooks
