package storetest

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"kith/broker"
)

// model is the contract in the simplest form: everything in memory, one batch at a time.
type model struct {
	logs     map[broker.LogID][]broker.Entry
	numbers  map[broker.LogID]uint64
	ends     map[broker.LogID]broker.MessageID // of groups
	messages map[broker.MessageID]*broker.Message
	records  map[broker.Key]modelRecord
	last     broker.MessageID
}

type modelRecord struct {
	value   []byte
	expires int64
}

func newModel() *model {
	return &model{
		logs: map[broker.LogID][]broker.Entry{}, numbers: map[broker.LogID]uint64{}, ends: map[broker.LogID]broker.MessageID{},
		messages: map[broker.MessageID]*broker.Message{}, records: map[broker.Key]modelRecord{},
	}
}

func (m *model) get(k broker.Key, now int64) []byte {
	r, ok := m.records[k]
	if !ok || r.expires != 0 && r.expires <= now {
		return nil
	}
	return r.value
}

// apply takes over a committed batch and compares the results with what it would have said.
func (m *model) apply(h *harness, b *broker.Batch, now int64) {
	h.Helper()
	for i := range b.Appends {
		m.append(h, &b.Appends[i], now)
	}
	for i := range b.Writes {
		w := &b.Writes[i]
		have := m.get(w.Key, now)
		guarded := w.Guard.Space != 0 && !bytes.Contains(m.get(w.Guard, now), w.GuardHas)
		conflict := guarded || w.If == broker.IfAbsent && have != nil || w.If == broker.IfEqual && (have == nil || !bytes.Equal(have, w.Have))
		if w.Conflict != conflict || conflict && !guarded && !bytes.Equal(w.Current, have) {
			h.Fatalf("write %+v: conflict must be %v, current %q", w, conflict, have)
		}
		switch {
		case conflict:
		case w.Value == nil:
			delete(m.records, w.Key)
		default:
			m.records[w.Key] = modelRecord{modelValue(b, w), w.Expires}
		}
	}
	for _, d := range b.Deletes {
		if d.Message.IsZero() {
			delete(m.logs, d.Log)
			continue
		}
		delete(m.messages, d.Message)
		for _, log := range []broker.LogID{logOf(broker.LogApp, ""), logOf(broker.LogPast, "")} {
			m.logs[log] = slices.DeleteFunc(m.logs[log], func(e broker.Entry) bool { return e.ID == d.Message })
		}
	}
}

// modelValue is the value of a write with its place.
func modelValue(b *broker.Batch, w *broker.Write) []byte {
	if w.Place == 0 {
		return w.Value
	}
	a := &b.Appends[w.Place-1]
	return append(binary.BigEndian.AppendUint64(bytes.Clone(w.Value), a.N), a.ID[:]...)
}

func (m *model) append(h *harness, a *broker.Append, now int64) {
	h.Helper()
	if a.Past {
		m.appendPast(h, a)
		return
	}
	if a.Once.Space != 0 {
		if first := m.get(a.Once, now); first != nil {
			if !a.Duplicate || !bytes.Equal(a.ID[:], first) {
				h.Fatalf("append %+v is a duplicate of %x", a, first)
			}
			return
		}
	}
	if a.Require.Space != 0 && m.get(a.Require, now) == nil {
		if !a.Refused || !a.ID.IsZero() {
			h.Fatalf("append %+v requires what is not there", a)
		}
		return
	}
	if a.Once.Space != 0 {
		m.records[a.Once] = modelRecord{bytes.Clone(a.ID[:]), a.OnceExpires}
	}
	if a.Duplicate || a.Refused || a.ID.Compare(m.last) <= 0 {
		h.Fatalf("append %+v after id %s", a, m.last)
	}
	m.last = a.ID
	if a.Message == nil {
		h.same("event number", m.add(logOf(broker.LogEvents, a.EventPeer), a.ID, 0, a.Event, true), a.N)
		return
	}
	m.messages[a.ID] = a.Message
	if log := logOf(broker.LogConversation, a.Message.Conversation); a.Message.Group != "" {
		h.same("the entry before", m.ends[log], a.Previous)
		m.ends[log] = a.ID
	}
	kind := a.Message.Kind
	m.add(logOf(broker.LogApp, ""), a.ID, kind, nil, false)
	if n := m.add(logOf(broker.LogConversation, a.Message.Conversation), a.ID, kind, nil, a.Message.Group != ""); n != a.N && a.Message.Group != "" {
		h.Fatalf("append %+v: number must be %d", a, n)
	}
	if kind != broker.KindMembership {
		m.add(logOf(broker.LogSent, a.Message.From), a.ID, kind, nil, false)
	}
	var numbers []uint64
	for _, p := range a.Inboxes {
		numbers = append(numbers, m.add(logOf(broker.LogInbox, p), a.ID, kind, nil, true))
	}
	h.same("inbox numbers", numbers, a.InboxN)
}

func (m *model) appendPast(h *harness, a *broker.Append) {
	h.Helper()
	if there := m.messages[a.Message.ID] != nil; a.ID != a.Message.ID || a.Duplicate != there {
		h.Fatalf("append to the past %+v: there is %v", a, there)
	}
	if a.Duplicate {
		return
	}
	m.messages[a.ID] = a.Message
	put := func(log broker.LogID) {
		at, there := slices.BinarySearchFunc(m.logs[log], a.ID, func(e broker.Entry, id broker.MessageID) int { return e.ID.Compare(id) })
		if !there {
			m.logs[log] = slices.Insert(m.logs[log], at, broker.Entry{ID: a.ID})
		}
	}
	put(logOf(broker.LogPast, ""))
	put(logOf(broker.LogPastConversation, a.Message.Conversation))
	put(logOf(broker.LogPastSent, a.Message.From))
	for _, p := range a.Message.To {
		put(logOf(broker.LogPastReceived, p))
	}
}

func (m *model) add(log broker.LogID, id broker.MessageID, kind broker.MessageKind, value []byte, numbered bool) uint64 {
	e := broker.Entry{ID: id, Kind: kind, Value: value}
	if numbered {
		if kind != broker.KindMembership {
			m.numbers[log]++
		}
		e.N = m.numbers[log]
	}
	m.logs[log] = append(m.logs[log], e)
	return e.N
}

// here drops the entries whose messages are gone, which the contract lets a log list or not, and numbers that it leaves open.
func (m *model) here(log broker.LogID, entries []broker.Entry) []broker.Entry {
	var left []broker.Entry
	for _, e := range entries {
		if m.messages[e.ID] == nil && log.Kind != broker.LogEvents {
			continue
		}
		if log.Kind == broker.LogConversation && len(log.Owner) == 32 {
			e.N = 0
		}
		left = append(left, e)
	}
	return left
}

func runModel(t *testing.T, newFactory func(t testing.TB) Factory) {
	for _, seed := range []uint64{1, 2, 3, 42, 1416290728} {
		t.Run(text("it does what a model does, seed %d", seed), func(t *testing.T) {
			h := start(t, newFactory(t))
			newPlayer(h, seed).play(45)
		})
	}
}

// player drives a store and a model with the same random batches and compares them.
type player struct {
	*harness
	*rand.Rand
	m   *model
	ids []broker.MessageID
}

func newPlayer(h *harness, seed uint64) *player {
	return &player{harness: h, Rand: rand.New(rand.NewPCG(seed, seed)), m: newModel()}
}

func (p *player) play(rounds int) {
	p.Helper()
	for round := range rounds {
		var batches []*broker.Batch
		var waits []<-chan error
		for range 1 + p.IntN(6) {
			b := p.batch()
			batches, waits = append(batches, b), append(waits, p.begin(b))
		}
		now := p.now()
		for i, b := range batches {
			if err := p.await(waits[i]); err != nil {
				p.Fatalf("commit: %v", err)
			}
			p.m.apply(p.harness, b, now)
			for j := range b.Appends {
				if !b.Appends[j].Refused {
					p.ids = append(p.ids, b.Appends[j].ID)
				}
			}
		}
		p.compare()
		if p.f.Advance != nil && p.IntN(10) == 0 {
			p.f.Advance(20 * time.Minute)
		}
		if round%15 == 14 {
			p.restart()
			p.compare()
		}
	}
}

func (p *player) peer() broker.PeerID   { return broker.PeerID(text("p%d", p.IntN(4))) }
func (p *player) group() broker.GroupID { return broker.GroupID(text("g%d", p.IntN(3))) }

func (p *player) batch() *broker.Batch {
	b := &broker.Batch{Lazy: p.IntN(4) == 0}
	for range p.IntN(12) {
		b.Appends = append(b.Appends, p.append())
	}
	for range p.IntN(4) {
		w := broker.Write{Key: record(broker.SpaceMember, string(p.group()), string(p.peer())), If: broker.Condition(p.IntN(3))}
		if p.IntN(4) > 0 {
			w.Value = []byte(text("%d", p.IntN(3)))
		}
		if p.f.Advance != nil && p.IntN(3) == 0 {
			w.Expires = p.now() + int64(p.IntN(60)*60_000) + 1
		}
		w.Have = []byte(text("%d", p.IntN(3)))
		if place := p.IntN(3 * (1 + len(b.Appends))); w.Value != nil && place <= len(b.Appends) {
			w.Place = place
		}
		if p.IntN(4) == 0 {
			w.Guard, w.GuardHas = record(broker.SpaceMember, w.Key.Owner, string(p.peer())), []byte(text("%d", p.IntN(3)))
		}
		b.Writes = append(b.Writes, w)
	}
	if len(p.ids) > 0 && p.IntN(6) == 0 {
		for range 1 + p.IntN(4) {
			b.Deletes = append(b.Deletes, broker.Delete{App: app, Message: p.ids[p.IntN(len(p.ids))]})
		}
	}
	if p.IntN(15) == 0 {
		log := p.log()
		for log.Kind.IsPast() { // what is emptied there may get entries again of messages that still are
			log = p.log()
		}
		b.Deletes = append(b.Deletes, broker.Delete{App: app, Log: log})
	}
	return b
}

func (p *player) append() broker.Append {
	var a broker.Append
	switch p.IntN(6) {
	case 5:
		return p.pastAppend()
	case 0:
		return event(p.peer(), text("e%d", p.IntN(100)), 0)
	case 1, 2:
		a = toGroup(p.peer(), text("%d", p.IntN(1000)), p.group())
		if p.IntN(5) == 0 {
			a.Message.Kind = broker.KindMembership
		}
	default:
		to := []broker.PeerID{"p0", "p1", "p2", "p3"}
		p.Shuffle(len(to), func(i, j int) { to[i], to[j] = to[j], to[i] })
		a = toPeers(p.peer(), text("%0*d", p.IntN(600), 1), to[:1+p.IntN(3)]...)
	}
	if p.IntN(4) == 0 {
		a.Once = record(broker.SpaceOnce, string(a.Message.Conversation), text("%s\x00%d", a.Message.From, p.IntN(5)))
		if p.f.Advance != nil {
			a.OnceExpires = p.now() + 600_000
		}
	}
	if a.Message.Group != "" && p.IntN(4) == 0 {
		a.Require = record(broker.SpaceMember, string(a.Message.Group), string(p.peer()))
	}
	return a
}

// pastAppend is one of few ids, so that many come again, with the same message.
func (p *player) pastAppend() broker.Append {
	ms := int64(1_400_000_000_000 + p.IntN(200))
	m := direct(broker.PeerID(text("p%d", ms%3)), text("past %d", ms), "p3")
	if ms%4 == 0 {
		m = inGroup("p1", text("past %d", ms), "g1")
	}
	return inPast(m, ms, byte(ms))
}

func (p *player) log() broker.LogID {
	switch p.IntN(9) {
	case 5:
		return logOf(broker.LogPastConversation, p.group())
	case 6:
		return logOf(broker.LogPastConversation, broker.DirectConversation(p.peer(), p.peer()))
	case 7:
		return logOf(broker.LogPastSent, p.peer())
	case 8:
		return logOf(broker.LogPastReceived, p.peer())
	case 0:
		return logOf(broker.LogConversation, p.group())
	case 1:
		return logOf(broker.LogConversation, broker.DirectConversation(p.peer(), p.peer()))
	case 2:
		return logOf(broker.LogSent, p.peer())
	case 3:
		return logOf(broker.LogInbox, p.peer())
	default:
		return logOf(broker.LogEvents, p.peer())
	}
}

func (p *player) compare() {
	p.Helper()
	for range 3 {
		log := p.log()
		if p.IntN(4) == 0 {
			log = logOf([]broker.LogKind{broker.LogApp, broker.LogPast}[p.IntN(2)], "")
		}
		r := broker.Range{Limit: 1 << 20, Reverse: p.IntN(2) == 0}
		if len(p.ids) > 0 && p.IntN(2) == 0 {
			r.After = p.ids[p.IntN(len(p.ids))]
		}
		if len(p.ids) > 0 && p.IntN(2) == 0 {
			r.Before = p.ids[p.IntN(len(p.ids))]
		}
		p.same(text("log %v %+v", log, r), p.m.here(log, window(p.m.logs[log], r)), p.m.here(log, p.read(log, r)))
	}
	var ids []broker.MessageID
	var want []*broker.Message
	for range min(30, len(p.ids)) {
		id := p.ids[p.IntN(len(p.ids))]
		ids, want = append(ids, id), append(want, p.m.messages[id])
	}
	if p.IntN(2) == 0 {
		slices.SortFunc(ids, broker.MessageID.Compare)
		slices.SortFunc(want, func(a, b *broker.Message) int { return 0 })
		want = want[:0]
		for _, id := range ids {
			want = append(want, p.m.messages[id])
		}
	}
	p.same("messages", want, p.messages(app, ids...))
	p.compareRecords()
}

func (p *player) compareRecords() {
	p.Helper()
	now := p.now()
	var want []broker.Record
	group := string(p.group())
	for k := range p.m.records {
		if v := p.m.get(k, now); v != nil && k.Space == broker.SpaceMember && k.Owner == group {
			want = append(want, broker.Record{Key: k, Value: v})
		}
	}
	slices.SortFunc(want, func(a, b broker.Record) int { return cmp.Compare(a.Key.Name, b.Key.Name) })
	p.same("members", want, p.list(broker.ListQuery{Space: broker.SpaceMember, App: app, Owner: group, Limit: 100}))
	for _, r := range want[:min(2, len(want))] {
		p.same("record", [][]byte{r.Value}, p.get(r.Key))
	}
}
