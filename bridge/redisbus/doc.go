// Package redisbus is the bus between nodes that share a Redis: broker.Bus on Redis pub/sub.
//
// # Channels
//
// A node listens to one channel, {prefix}:bus:{node}. On a single server and with Sentinels that is SUBSCRIBE and PUBLISH. On a
// Redis Cluster it is sharded pub/sub, SSUBSCRIBE and SPUBLISH, so that a note passes one shard and not all of them: this needs
// Redis 7. The channel's name decides the shard, and one subscription listens to one shard only. A user of Redis needs the right
// to the channels besides that to the keys: &{prefix}:bus:*.
//
// # Sending
//
// Send copies the note into a frame for its destination and returns. One goroutine sends: whatever gathered while its last
// pipeline was in flight goes out as one PUBLISH a destination, all destinations in one pipeline, with a deadline. So the first
// note after a silence leaves at once, and the busier the bus is, the more notes share a PUBLISH. Nothing is sent twice: whether a
// pipeline that failed arrived is not known, and its notes may be lost.
//
// What waits is bounded, for each node and for all; past the bound notes are dropped and counted. With no Run going, and for a
// node whose Redis is away for longer than the bound holds, that is what happens to all of them.
//
// # Finding what was lost
//
// Each frame to a node has the next number of a stream. Numbers are used up by what is dropped and by what could not be sent too,
// so the receiver of the next frame that arrives sees the gap and hears Lost with the sender's name before that frame's notes. A
// stream begins anew, with a random name, when the sender has forgotten the node: the receiver hears Lost then as well. A frame
// whose number has passed is late or double and is dropped, so that order holds. A frame that cannot be read is told as Lost, of
// nobody in particular when even its sender cannot be read.
//
// Redis keeps nothing for a node that does not listen. Each time the subscription is confirmed, the first time too, the receiver
// hears Lost of nobody in particular. A ping each second and a deadline of 3 s find a connection that is dead without having been
// closed; another is made without end, with pauses of at most a second.
//
// # A slow receiver
//
// The receiver is called by the goroutine that reads the socket, and nothing is buffered between them. A receiver that does not
// keep up fills the socket and then Redis's own buffer for the subscription, which Redis ends past its bound
// (client-output-buffer-limit pubsub, 32 MB unless set otherwise): the receiver hears Lost and goes on with what is new.
package redisbus
