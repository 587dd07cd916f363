// Package pebblestore is the embedded store: logs and records in one Pebble database below the data folder, for one node.
//
// # Guarantees
//
//   - A batch that is not lazy is on the disk when its Done is called without an error, if Config.Sync is set. Otherwise it
//     is on the disk about a second later; so is a lazy batch, and never after a later one that is not lazy.
//   - An append is in all its logs or in none, also after a crash.
//   - Ids increase over the life of the store, whatever the wall clock does. Numbers are dense; none is given twice, also when
//     its log was emptied or its message deleted.
//   - Logs and messages that a read shows are durable, but for those of lazy batches: nothing that was read can be
//     lost, and no id or number that was seen can come again for another message. Records may be seen a moment before.
//   - When the disk fails, nothing is acknowledged any more: every later Commit and Ping fails until a restart. Reads go on
//     with what was durable, and Options.OnMended tells when the disk takes writes again. Where Pebble itself gives up, Options.OnFatal ends the process,
//     or its panic does, when the disk fails as it closes one WAL file for the next.
//   - A folder has one owner: a second Open of it fails. So does one of a folder that a newer format wrote.
//
// # How it writes
//
// One goroutine, the committer, is the only writer. It takes all batches that wait (up to a bound: callers of Commit wait
// beyond it), gives ids and numbers, resolves once keys and conditions in that order, and applies all as one group. Another,
// the finisher, waits for the group's sync and calls the Done functions in order. While one group is synced the next
// is put together; it waits for the sync unless it is large. Three are at most in flight.
//
// # Keys
//
// Entries that a group puts into the same log share a key: a run. A reader finds an id in the last run that begins at or
// before it. App and owner hold no NUL byte, which ends them; an id is its 12 bytes, so that bytes sort as time does.
//
//	key                                  value
//	'm' app 0 0 firstID                  a block: messages of a group, 8 KB or little more; the app's log and the bodies
//	'c' conversation, 's' sent, 'i' inbox:
//	kind app 0 owner 0 firstID           a run: the first number (0: no numbers), then ids and kinds, about 1–3 bytes each
//	'e' app 0 peer 0 ID                  one event: flag, number, payload
//	'M' app 0 0 ID                       one message that came from elsewhere; finding it by its id is one look-up more
//	'C' conversation, 'S' sent, 'I' received:
//	kind app 0 owner 0 ID                a reference to it: nothing
//	'r' space app 0 owner 0 name         a record: expiry, value
//	'x' bucket 'r' space app 0 …         the expiry index: nothing; a bucket is 65.5 s
//	'z' "last", "format"                 the greatest id given; the version of this layout
//	'z' "size" kind app                  the bytes of an app's messages, or of those of its past
//
// An emptied log keeps one key with its last id: a run without entries, or an event's flag, that holds its last number.
//
// # What it costs
//
//   - A batch of 20 direct messages from one peer to another: 3 keys and its part of a block. A message alone: 4 keys.
//   - An append to a numbered log whose end is not in memory: one seek. A once key, a condition: one look-up, mostly
//     answered by a Bloom filter.
//   - Read and Last: one seek and the runs passed. Messages: one seek for each block.
//   - Deleting a message writes its block again. Emptying a log of more than 64 keys is one range deletion.
//   - Trimming a log: a look at the keys that go, and one range deletion where they are more than 64. The key that straddles the end stays.
//   - A record with an expiry: a second key, and a look-up when it is due, in steps of 256 through the committer.
//   - Opening: what Pebble does. Nothing is scanned.
package pebblestore
