package pebblestore

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"kith/broker"
)

// appendPast puts a message that came from elsewhere where its id belongs: a key of its own in each log. Blocks and runs are for what
// grows at the end.
func (g *group) appendPast(a *broker.Append) error {
	m := a.Message
	body := broker.LogID{Kind: broker.LogPast, App: a.App}
	g.key = appendID(appendLogPrefix(g.key[:0], body), m.ID)
	size, err := g.inPast(g.key)
	if err != nil {
		return fmt.Errorf("look for message %s: %w", m.ID, err)
	}
	if a.ID, a.Duplicate = m.ID, size != absent; a.Duplicate {
		return nil
	}
	stored, err := m.AppendBinary(nil)
	if err != nil {
		return fmt.Errorf("encode message of %q: %w", m.From, err)
	}
	if err := g.wb.Set(g.key, stored, nil); err != nil {
		return err
	}
	g.past[string(g.key)] = len(stored)
	g.resize(a.App, broker.LogPast, len(stored))
	g.bytes += len(stored)
	refer := func(kind broker.LogKind, owner string) {
		log := broker.LogID{Kind: kind, App: a.App, Owner: owner}
		g.set(logPrefixLen(log)+idSize, 0, func(key, _ []byte) { appendID(appendLogPrefix(key[:0], log), m.ID) })
	}
	refer(broker.LogPastConversation, string(m.Conversation))
	refer(broker.LogPastSent, string(m.From))
	for _, peer := range m.To {
		refer(broker.LogPastReceived, string(peer))
	}
	g.count++
	return nil
}

// absent is the size of a message that is not there.
const absent = -1

// inPast returns the size of a message of the past, or absent, as the group has left it so far.
func (g *group) inPast(key []byte) (int, error) {
	if size, known := g.past[string(key)]; known {
		return size, nil
	}
	stored, closer, err := g.s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return absent, nil
	}
	if err != nil {
		return absent, err
	}
	return len(stored), closer.Close()
}

func (g *group) deletePast(app broker.AppID, id broker.MessageID) error {
	g.key = appendID(appendLogPrefix(g.key[:0], broker.LogID{Kind: broker.LogPast, App: app}), id)
	size, err := g.inPast(g.key)
	if err != nil || size == absent {
		return err
	}
	g.past[string(g.key)] = absent
	g.resize(app, broker.LogPast, -size)
	return g.wb.Delete(g.key, nil)
}

// pastBody returns a copy of a stored message of the past, nil where there is none.
func (s *Store) pastBody(app broker.AppID, id broker.MessageID) ([]byte, error) {
	stored, closer, err := s.db.Get(appendID(appendLogPrefix(nil, broker.LogID{Kind: broker.LogPast, App: app}), id))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return bytes.Clone(stored), closer.Close()
}
