// Package archive is an app outside of the server: what an export holds, and what can be moved in.
//
// An export is NDJSON, a JSON object a line. A line without "type" is a message, as history shows it (spec 11), with what else the
// server keeps of it: original_id, device, qos, receipt, properties. The others say what they are:
//
//	group    a group: group, name, open, creator, created, attributes
//	member   that a peer is in it: group, peer, joined
//	peer, device, event    what is known of one peer, in the export of that peer alone
//
// What can be read is that, and what the original service gave out: messages as its history calls return them, and the rows of
// its tables AVOSRealtimeGroups and _Conversation. Each may be NDJSON or a JSON array, also one in {"results":[…]}, or in a file of
// lines that begins with a line of #. Times are Unix milliseconds.
//
// # What is promised
//
// Messages keep their time, and their id if it is one of ours; another is kept as original_id, and the id is derived from it and the
// time (broker.PastID). So what is imported twice is there once. What was imported is in history alone and delivered to nobody. Groups
// that exist stay as they are, and get the members that they lack, without notices. A record that cannot be taken is reported
// with its line and the reason, and holds up no other.
package archive
