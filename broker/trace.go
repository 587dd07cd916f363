package broker

import (
	"context"
	"slices"

	"golang.org/x/sync/errgroup"
)

// TraceState is how far a message came on its way to a receiver.
type TraceState string

// The states of a trace, the furthest first.
const (
	TraceAcknowledged TraceState = "acknowledged" // the device has it
	TraceRefused      TraceState = "refused"      // its client said no
	TraceSent         TraceState = "sent"         // written to a connection, not acknowledged
	TraceWaiting      TraceState = "waiting"      // in the queue
	TraceExpired      TraceState = "expired"      // its own expiry, or queue.age, came first
	TraceSkipped      TraceState = "skipped"      // never sent: it fell out of the queue, had expired, or was too large for the client
	TraceGone         TraceState = "gone"         // the receiver's inbox has it no more: the peer was erased
)

// furthestState orders the states.
var furthestState = []TraceState{TraceAcknowledged, TraceRefused, TraceSent, TraceWaiting, TraceExpired, TraceSkipped, TraceGone}

// Trace is a message's life: what became of it at each receiver.
type Trace struct {
	Message   HistoryItem
	Queued    bool // false where nothing waits for anybody: in an open group, and for what was imported
	Receivers []ReceiverTrace
	Next      PeerID // the last receiver looked at, where there may be more
}

// ReceiverTrace is what became of a message at one receiver.
type ReceiverTrace struct {
	Peer    PeerID
	State   TraceState // the furthest of its devices
	Devices []DeviceTrace
}

// DeviceTrace is what became of a message on one device. Times are Unix milliseconds; 0 is unknown, or not yet.
type DeviceTrace struct {
	Device       DeviceID
	Connected    bool
	State        TraceState
	Sent         int64 // first
	Times        int   // how often it was sent
	Acknowledged int64
}

const (
	// maxTraceRecords bounds the records of a device's trail that are looked through.
	maxTraceRecords = 32
	// tracedAtOnce bounds the receivers that are looked at at the same time.
	tracedAtOnce = 8
)

// Trace tells what became of a message at its receivers, at most limit of them, in the order of their ids behind after; false: history has
// no such message. A group's receivers are those of its members now that were members then. What a device got within the last second
// may not be told yet.
func (b *Broker) Trace(ctx context.Context, app AppID, id MessageID, after PeerID, limit int) (Trace, bool, error) {
	item, found, err := b.Message(ctx, app, id)
	if !found || err != nil {
		return Trace{}, false, err
	}
	messages, err := b.store.Messages(ctx, app, []MessageID{id})
	if err != nil || messages[0] == nil {
		return Trace{}, false, err
	}
	a, err := b.app(app)
	if err != nil {
		return Trace{}, false, err
	}
	t := tracing{b: b, app: a, msg: messages[0], Trace: Trace{Message: item, Queued: true}}
	_, delivered, err := t.entry(ctx, LogID{LogApp, app, ""})
	var all []traced
	switch {
	case err != nil:
	case !delivered:
		t.Queued = false
	case item.Group != "":
		all, err = t.group(ctx, after, limit)
	default:
		all = t.direct(after, limit)
	}
	if err == nil {
		err = t.look(ctx, all)
	}
	return t.Trace, true, err
}

// tracing is one call of Trace.
type tracing struct {
	Trace
	b   *Broker
	app *app
	msg *Message
}

// traced is a receiver, and the log from which its devices get the message.
type traced struct {
	peer   PeerID
	log    LogID
	joined Position // for a group
}

func (t *tracing) direct(after PeerID, limit int) (all []traced) {
	receivers := slices.Clone(t.msg.To)
	slices.Sort(receivers)
	for _, p := range receivers {
		if p <= after {
			continue
		}
		if len(all) == limit {
			t.Next = all[limit-1].peer
			break
		}
		all = append(all, traced{peer: p, log: LogID{LogInbox, t.app.id, string(p)}})
	}
	return all
}

func (t *tracing) group(ctx context.Context, after PeerID, limit int) ([]traced, error) {
	k := groupKey{t.app.id, t.msg.Group}
	g, _, err := t.b.group(ctx, k)
	if err != nil {
		if AsError(err).Code == GroupNotFound {
			return nil, nil // nobody is a member any more
		}
		return nil, err
	}
	if g.Open {
		t.Queued = false
		return nil, nil
	}
	members, err := t.b.members(ctx, k, after, limit+1)
	if err != nil {
		return nil, err
	}
	if len(members) > limit {
		members = members[:limit]
		t.Next = members[limit-1].Peer
	}
	keys := make([]Key, len(members))
	for i, m := range members {
		keys[i] = membershipKey(k, m.Peer)
	}
	places, err := t.b.store.Get(ctx, keys)
	if err != nil {
		return nil, err
	}
	var all []traced
	for i, m := range members {
		joined := decodePosition(places[i])
		if m.Peer == t.msg.From || joined.ID.Compare(t.msg.ID) > 0 {
			continue // its own, or it came later
		}
		all = append(all, traced{m.Peer, groupLog(k), joined})
	}
	return all, nil
}

// look finds out about receivers, some at a time.
func (t *tracing) look(ctx context.Context, all []traced) error {
	t.Receivers = make([]ReceiverTrace, len(all))
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(tracedAtOnce)
	for i, r := range all {
		work.Go(func() (err error) {
			t.Receivers[i], err = t.receiver(ctx, r)
			return err
		})
	}
	return work.Wait()
}

// entry is the message's place in a log.
func (t *tracing) entry(ctx context.Context, log LogID) (Entry, bool, error) {
	entries, err := t.b.store.Read(ctx, log, Range{After: t.msg.ID.before(), Before: t.msg.ID.after(), Limit: 1})
	if err != nil || len(entries) == 0 {
		return Entry{}, false, err
	}
	return entries[0], true, nil
}
