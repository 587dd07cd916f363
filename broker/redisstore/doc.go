// Package redisstore is the distributed store: logs and records in Redis, one server, one with Sentinels, or a Redis Cluster,
// for any number of nodes.
//
// # Guarantees
//
//   - A batch's Done is called without an error when Redis has answered every command of it. What Redis promises with its answer
//     is for its settings to say, see below.
//   - The numbers of a log are dense and none is given twice, the ids along a log increase, a once key stores one message, and what
//     is required is there when the message gets its id: also when several nodes commit at once.
//   - With one shard an append is in all its logs or in none. With several it comes into them one after the other: a failure, or
//     the crash of a node, may leave a message that was not acknowledged in some of them. The same append under the same once
//     key completes it, under the same id.
//   - A write that failed, or was not answered in time, is not tried again: it may have been done. Its batch fails.
//     Only what a node of a cluster says it did not do, because a slot moves, is sent again.
//   - Every call ends within Options.Timeout. While Redis is away all batches fail, in order; then everything goes on by itself.
//   - A lazy batch is a batch.
//   - With Config.WaitReplicas a batch's Done comes only when that many replicas have it too, with Config.WaitDisk when it is on the disk.
//
// # What Redis promises with its answer
//
//	appendfsync always     it is on the disk: a kill or a power cut loses nothing. (With a group of batches in each sync.)
//	appendfsync everysec   it is in the operating system's memory: kill -9 of Redis loses nothing, a power cut about a second.
//	appendfsync no         as everysec, but a power cut can lose what the system had not yet written, often 30 s.
//	appendonly no          a restart loses everything since the last snapshot. Not for this store.
//	replicas               follow a moment later. A failover can lose what the lost master had not yet sent, also of what was
//	                       acknowledged, and then gives numbers and ids anew. min-replicas-to-write bounds for how long.
//	maxmemory-policy       must be noeviction: anything else removes messages.
//
// # Shards
//
// Every peer, conversation, group and other owner of records belongs to one of the store's shards, by a hash of its name. All
// keys of a shard share a hash tag, so a script can use them together. One server has one shard, a Redis Cluster 64, in equal
// stretches of its slots; their number is fixed when the store is made. A shard is a hybrid clock: each id
// given in it is above all that its logs hold.
//
// The committer gathers what is queued and does it in steps, each one pipeline, so that many publishers share a round trip. With
// one shard all is one step. With several:
//
//	claim    once keys, where one step cannot check them and store too: the key takes the id that the message shall have
//	order    in its home shard (the group's, or the first receiver's) the message gets its id and is stored, with the entries
//	         of the logs there. The records of the batch are written
//	refer    inboxes in other shards get their references
//	past     messages that came from elsewhere, with ids of their own: their bodies in the shard of a hash of the id, then the rest
//	end      the conversation's, where that has no numbers, and the sender's log; deletes; writes with a place
//	settle   once keys are told that nothing is left to do
//
// # Order between shards
//
// An inbox is ordered by id. A message to one receiver gets its id where that inbox is: nothing can come between. One to
// several receivers, or whose sender has other devices, has its id before it reaches the other inboxes, and there another
// node may have put a later one meanwhile. An entry below the last would be missed by who has read that. The script refuses it: the
// message takes a new id above what it met, in all its logs, and with it all later ones of the group in its conversation,
// so that the conversation's order is that of its inboxes. Its first body is removed. What it left in inboxes are references to a
// message that is gone, which keep the numbers dense and which readers pass over. Within one node this does not happen: a group
// is cut where a message would come before an earlier one's reference.
//
// Logs without numbers, of which nobody delivers, may with several shards and nodes get an entry below their last for as long as
// a group takes: the app's, the sender's, a direct conversation's. Who follows one by id should look back a little.
//
// A claim names the id under which the message is tried, and that id alone: the home shard stores it under exactly this one, or
// refuses it for ever, since its clock has passed. So whoever finds a claim, of a node that died or of one that is still at work,
// tries the same and gets the same answer; a delayed write cannot come through later. A refused claim is changed by
// compare-and-set; only who changed it removes what was stored, and only a settled claim is acknowledged.
//
// # Keys
//
// P is the prefix and the shard's tag, as in kith{0}. Bytes are those of an entry; Redis adds about 3 to each, and about 200 to
// each log, its key among them.
//
//	key                           type    life                        holds
//	prefix:store                  hash    for ever                    format, number of shards, how often it was opened
//	P:clock                       string  for ever                    the last clock given, 8 bytes
//	P:ping                        string  60 s                        nothing
//	P:m:app                       stream  until deleted or trimmed    bodies by clock; the app's log. About 25 bytes and the body
//	P:c:app:conversation          list    until deleted or trimmed    13 bytes a message; a group's 19
//	P:s:app:peer                  list    until deleted or trimmed    13 bytes a message sent
//	P:i:app:peer                  list    Options.InboxKeep           19 bytes a reference
//	P:e:app:peer                  list    Append.Keep                 19 bytes and the payload
//	P:B:app                       hash    until deleted or trimmed    by id, bodies that came from elsewhere
//	P:M:app                       zset    until deleted or trimmed    13 bytes for each of them
//	P:C:app:conversation          zset    until deleted or trimmed    13 bytes for each of the conversation's; so P:S of a sender,
//	                                                                  P:I of a receiver
//	P:r:space:app:owner NUL name  string  until removed, or expired   the value. About 60 bytes, the key and the value
//	P:l:space:app                 zset    with its records            owner NUL name of each record, for List; not of the spaces
//	                                                                  'o' and 'r', which are asked for by name alone
//	P:x                           zset    with its records            when each record of a list expires, for the sweep
//
// An entry is the id, a byte of kind, the number in 6 bytes where the log has them, and an event's payload. Entries are in the order
// of their ids, so a script finds any id by halving, from the end. Lists because appending to one costs Redis a third of what a
// sorted set costs, and an entry in a long one a fifth of the memory; sorted sets where entries come between others; streams, that begin at 4 KB, hold the bodies. An emptied log keeps
// an entry with its last id and number. A record that expires takes its key with it, when Redis has counted down how long it lives,
// whatever the clocks of nodes say; its place in the list goes with the next sweep.
//
// # What it costs
//
// A direct message from one peer to another: one XADD, one LINDEX and three RPUSH, and the 40th part of a script call or so. Up to 128
// appends share GET and SET of the clock, and those of them that go into one log its LINDEX and two RPUSH: with bursts of 20 from a sender
// to a receiver it is about 1.5 commands a message. One round trip is shared by all that was queued. With several shards two round
// trips, and up to two more commands. About 420 bytes of memory with a body of 256, in logs of some hundred, and 630 in the
// append-only file, 480 in such bursts.
// With a once key one GET and one SET more; with several shards two round trips more. A record: a script with GET and SET, and
// ZADD when it is new. Reads: one round trip; Read a script, Last and Get one command for each, Messages one XRANGE, List two round trips;
// beyond eight at once they share their round trips; the app's log and lists over owners ask each shard for its share.
//
// # Where it ends
//
// A shard is the work of one thread of one Redis. Inboxes, conversations, sent logs and bodies grow until they are deleted or
// trimmed, or InboxKeep says otherwise. A group is as fast as its shard.
package redisstore
