package broker

import (
	"context"
	"errors"
)

// Store keeps logs and records. It is proven by the suite in broker/storetest, which both engines pass.
//
// A log is an append-only sequence of entries in the order of their ids. Logs that are delivered from (a group's
// conversation, inbox, events) also number their entries 1, 2, 3 … without gaps; a number is never given twice. A change of
// members takes no number of its own.
// A record is a small value under a key, with an optional expiry, changed by compare-and-set.
//
// Beside the logs that grow at their end there are past logs, for what came from elsewhere with an id of its own: an entry finds its place
// by its id, has no number, and is in history alone. Nothing is delivered from them.
//
// Everything that changes goes through Commit, in order. Every read sees all batches whose Done was called before it
// began. Reads honour their context; all methods are safe for concurrent use.
type Store interface {
	// Commit queues b and returns, waiting only while too much is queued already. Batches take effect in the order
	// in which Commit was called by one goroutine. b.Done is called exactly once, in that same order over all
	// batches, from one goroutine that must not be held up: Done must not block and must not call the store but for Commit.
	//
	// Each Append is atomic and each Write is atomic; a batch need not be, but an engine that fails reports it for the
	// whole batch. After a crash an unacknowledged batch may be there, in part or whole.
	Commit(b *Batch)

	// Last returns the last entry of each log, in the order asked: the zero Entry for an empty one.
	Last(ctx context.Context, logs []LogID) ([]Entry, error)

	// Read returns at most r.Limit entries of a log.
	Read(ctx context.Context, log LogID, r Range) ([]Entry, error)

	// Messages returns the messages with these ids, of the past too, in the order asked, nil for one that is gone.
	Messages(ctx context.Context, app AppID, ids []MessageID) ([]*Message, error)

	// Get returns the values under keys, in the order asked, nil for one that is absent or has expired.
	Get(ctx context.Context, keys []Key) ([][]byte, error)

	// List returns at most q.Limit records in the order of owner and name.
	List(ctx context.Context, q ListQuery) ([]Record, error)

	// Ping reports whether the store can take a durable write.
	Ping(ctx context.Context) error

	// Close finishes what was committed and releases everything. Commit after Close fails with ErrStoreClosed.
	Close() error
}

// ErrStoreClosed says that the store was closed before the batch was taken.
var ErrStoreClosed = errors.New("store is closed")

// LogKind says what a log holds.
type LogKind byte

// The kinds of log. A message is in its app's log, which holds the body; entries of the others refer to it.
const (
	// LogApp is the app's timeline, owner "". It has no numbers.
	LogApp LogKind = 'm'
	// LogConversation is a conversation's messages, owner the conversation id. For a group it also
	// holds its membership changes, and is what members are delivered from.
	LogConversation LogKind = 'c'
	// LogSent is what a peer sent, owner the peer id. It has no numbers.
	LogSent LogKind = 's'
	// LogInbox is the direct messages due to a peer's devices, owner the peer id: those sent to it, and those it sent
	// while it had other devices. Peers and their other devices are delivered from it.
	LogInbox LogKind = 'i'
	// LogEvents is the events that wait for a peer, owner the peer id. Its entries hold their payload.
	LogEvents LogKind = 'e'

	// LogPast is the messages of an app that came from elsewhere, owner "". It holds their bodies.
	LogPast LogKind = 'M'
	// LogPastConversation is a conversation's part of them, owner the conversation id.
	LogPastConversation LogKind = 'C'
	// LogPastSent is what a peer sent of them, owner the peer id.
	LogPastSent LogKind = 'S'
	// LogPastReceived is what it received directly, owner the peer id.
	LogPastReceived LogKind = 'I'
)

// IsPast reports whether entries of such a log find their place by their id, and have no number.
func (k LogKind) IsPast() bool {
	return k == LogPast || k == LogPastConversation || k == LogPastSent || k == LogPastReceived
}

// LogID names a log.
type LogID struct {
	Kind  LogKind
	App   AppID
	Owner string
}

// Entry is one place in a log.
type Entry struct {
	N     uint64    // its number, from 1; that of the message before for KindMembership; 0 in logs without numbers and for "no entry"
	ID    MessageID // the message, or the event's own id; increases along the log
	Kind  MessageKind
	Value []byte // the payload of an event; nil for a message
}

// Range selects entries of a log by id, both ends exclusive; a zero end is open.
type Range struct {
	After, Before MessageID
	Limit         int
	Reverse       bool // newest first
}

// Batch is what one caller commits at once.
type Batch struct {
	Appends []Append
	Writes  []Write
	Deletes []Delete
	// Lazy lets Done come before the batch is durable. It is still durable before any later batch that is not lazy.
	Lazy bool
	// Chain, when set, has the batch fail behind an earlier one of the same chain that failed, unless it Renews the chain.
	Chain  *Chain
	Renews bool
	// Done tells the outcome of the whole batch; that of each part is in its result fields. An error means that nothing
	// may be acknowledged.
	Done func(b *Batch, err error)

	refusal error // what Turn says whatever the chain is
}

// Append puts a message, or an event, at the end of its logs in one step.
type Append struct {
	App AppID
	// Message goes into its app's log, its conversation's log and, unless its kind is KindMembership, its sender's log. The store
	// sets Message.ID.
	Message *Message
	// Inboxes are the peers whose inbox gets a reference, without repetition.
	Inboxes []PeerID
	// Event, with Message nil, goes into EventPeer's log of events; all but the newest Keep entries of it may be dropped.
	Event     []byte
	EventPeer PeerID
	Keep      uint64
	// Once, when its Space is set, makes the append idempotent: if that key holds a value, nothing is
	// appended, Duplicate is set and ID is the id of the first. Else the key is set with this id, until OnceExpires.
	Once        Key
	OnceExpires int64 // Unix milliseconds; 0: never
	// Past puts Message, under the id that it has, into the past logs of its app, its conversation, its sender and its receivers. Of
	// the other fields only App is then looked at. Where that id is in the past already its message stays as it is and Duplicate is
	// set; a log of references that lacks it may get it. A read may see it a moment before it is durable.
	Past bool
	// Require, when its Space is set, refuses the append unless that key holds a value: nothing is appended and Refused is set.
	Require Key

	// Results, valid in Done.
	ID        MessageID
	Duplicate bool
	Refused   bool
	N         uint64 // the number in the conversation's log (groups only) or in the log of events
	// Previous is the id of the entry before it in the conversation's log, zero for the first (groups only): who has that one has
	// missed nothing, no change of members either.
	Previous MessageID
	InboxN   []uint64 // the numbers in Inboxes, in their order
}

// ErrPast says that an append to the past is not one: it needs a message of a peer, with an id.
var ErrPast = errors.New("what goes into the past is a message with an id")

// Check returns the first thing wrong with a: ErrPast, or what names, the engine's own check, says of an app and an owner that a's
// logs and records are named by. An engine calls it before anything of a is tried.
func (a *Append) Check(names func(app AppID, owner string) error) error {
	for _, k := range [...]Key{a.Once, a.Require} {
		if k.Space != 0 {
			if err := names(k.App, k.Owner); err != nil {
				return err
			}
		}
	}
	m := a.Message
	if a.Past {
		if m == nil || m.ID.IsZero() || m.Kind != KindMessage {
			return ErrPast
		}
		if err := checkOwners(m.To, names); err != nil {
			return err
		}
	}
	if m == nil {
		return names(a.App, string(a.EventPeer))
	}
	if err := names(a.App, string(m.Conversation)); err != nil {
		return err
	}
	if err := checkOwners(a.Inboxes, names); err != nil {
		return err
	}
	return names("", string(m.From))
}

func checkOwners(peers []PeerID, names func(AppID, string) error) error {
	for _, p := range peers {
		if err := names("", string(p)); err != nil {
			return err
		}
	}
	return nil
}

// Key names a record. An engine keeps the records of one owner together.
type Key struct {
	Space Space
	App   AppID
	Owner string
	Name  string
}

// Space is what a record is about.
type Space byte

// The spaces of records.
const (
	SpaceDevice     Space = 'd' // owner peer, name device: what a session leaves behind
	SpaceCursor     Space = 'p' // owner peer, name device NUL log: a device's place in a log
	SpacePeer       Space = 'k' // owner peer: that it was ever seen, and when last
	SpaceNonce      Space = 'n' // owner nonce: the first client id and operation that used it
	SpaceOnce       Space = 'o' // owner conversation, name sender NUL its own id: a message's id
	SpaceReceipt    Space = 'r' // owner message id: the id of its receipt event
	SpaceBan        Space = 'b' // owner peer
	SpaceGroup      Space = 'g' // owner group
	SpaceMember     Space = 'u' // owner group, name peer
	SpaceMembership Space = 'h' // owner peer, name group
	SpaceNode       Space = 'a' // no app, owner a node's incarnation: its lease
	SpaceWhere      Space = 'w' // owner peer or group: the nodes it is on
	SpaceAudit      Space = 'l' // owner "log", name an id turned over: who changed what over REST
	SpaceTrail      Space = 't' // owner peer, name device NUL log NUL first number turned over, and time: what became of deliveries
	SpaceRetained   Space = 'e' // owner topic: what is retained on it
	SpaceServer     Space = 'z' // owner what it is for: things the server made once
)

// Record is a key with its value.
type Record struct {
	Key   Key
	Value []byte
}

// Condition says when a Write happens.
type Condition byte

// The conditions of a Write.
const (
	Always   Condition = iota
	IfAbsent           // the key holds no value
	IfEqual            // the key holds exactly Have
)

// Write sets or removes a record.
type Write struct {
	Key   Key
	Value []byte // nil removes
	// Place, when not 0, counts an Append of the same batch from 1: its number in the conversation's log (8 bytes, big-endian) and its
	// id are put behind Value.
	Place   int
	Expires int64 // Unix milliseconds; 0: never
	If      Condition
	Have    []byte
	// Guard, when its Space is set, is a record of the same owner that must hold GuardHas somewhere in its value, or else the write
	// conflicts: whoever lost what the guard tells can no longer write.
	Guard    Key
	GuardHas []byte

	// Results, valid in Done.
	Conflict bool   // the condition or the guard did not hold; nothing was changed
	Current  []byte // with Conflict: the value that stands
}

// Delete removes messages from history, a whole log, or the beginning of one.
type Delete struct {
	App AppID
	// Message, when not zero, is removed from its app's log, or its past; other logs' references to it are passed over from then on.
	Message MessageID
	// Log, when Message is zero, is emptied; its numbers go on from where they were.
	Log LogID
	// Before, when not zero, spares what lies from that id on, and, where that is cheaper, some of what lies just before it. It is not for
	// LogEvents.
	Before MessageID
}

// Sizer is a store that knows how much it holds.
type Sizer interface {
	// HistoryBytes returns about how many bytes the messages of an app take, those of its past too, without indexes. It follows what
	// is stored and removed at once.
	HistoryBytes(ctx context.Context, app AppID) (int64, error)
}

// ListQuery selects records of one space and app. With Owner set, those of that owner whose name starts with Prefix; else
// those whose owner starts with Prefix.
type ListQuery struct {
	Space  Space
	App    AppID
	Owner  string
	Prefix string
	After  Key // start behind this key's owner and name; its zero value: from the beginning
	Limit  int
}
