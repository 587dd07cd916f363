package hooks

import (
	"slices"
	"strings"
	"sync"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"kith/broker"
)

// What one app may have retained under {app}/topic/. The broker keeps it in the store; each node has all of it in memory.
const (
	maxRetained      = 10_000
	maxRetainedBytes = 16 << 20
)

// clearedFor is how long the id of what was cleared is known, so that an earlier change that arrives later does not bring it back.
const clearedFor = time.Minute

// retainedStore bounds and serves the engine's retained messages. In them, Expiry is in Unix milliseconds: the engine's own
// expiry, in seconds, never runs.
type retainedStore struct {
	index *mqtt.TopicsIndex
	now   func() time.Time
	mu    sync.Mutex // makes a look at the store and the change one step
	used  map[broker.AppID]*retainedUse
	known map[broker.AppID]map[string]retainedID
}

type retainedUse struct{ messages, bytes int }

// retainedID is the last change of a topic.
type retainedID struct {
	id      broker.MessageID
	cleared int64 // when this node heard that it was cleared, Unix milliseconds; 0: it is retained
}

func newRetainedStore(index *mqtt.TopicsIndex, now func() time.Time) retainedStore {
	return retainedStore{index: index, now: now, used: make(map[broker.AppID]*retainedUse), known: make(map[broker.AppID]map[string]retainedID)}
}

func (r *retainedStore) packet(p *broker.Publish) packets.Packet {
	return packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: p.QoS, Retain: true},
		TopicName:   string(p.Topic),
		Payload:     slices.Clone(p.Payload),
		Properties:  engineProperties(&p.Props),
		Created:     r.now().Unix(),
		Expiry:      p.Props.Expires,
	}
}

// after is what an app has retained when pk took the place of what was on its topic. r.mu is held.
func (r *retainedStore) after(app broker.AppID, pk *packets.Packet) (use retainedUse) {
	if now := r.used[app]; now != nil {
		use = *now
	}
	if old, ok := r.index.Retained.Get(pk.TopicName); ok {
		use.messages--
		use.bytes -= retainedSize(&old)
	}
	if len(pk.Payload) > 0 {
		use.messages++
		use.bytes += retainedSize(pk)
	}
	return use
}

// check refuses what there is no room for.
func (r *retainedStore) check(app broker.AppID, p *broker.Publish) error {
	pk := r.packet(p)
	r.mu.Lock()
	defer r.mu.Unlock()
	if use := r.after(app, &pk); len(p.Payload) > 0 && (use.messages > maxRetained || use.bytes > maxRetainedBytes) {
		return broker.Errorf(broker.LimitExceeded, "over %d retained messages or %d bytes of them", maxRetained, maxRetainedBytes)
	}
	return nil
}

// set retains p, or forgets what was retained when its payload is empty [MQTT-3.3.1-5] to [MQTT-3.3.1-7], unless a later id is known.
func (r *retainedStore) set(app broker.AppID, id broker.MessageID, p *broker.Publish) {
	pk := r.packet(p)
	r.mu.Lock()
	defer r.mu.Unlock()
	topics := r.known[app]
	if topics == nil {
		topics = make(map[string]retainedID)
		r.known[app] = topics
	}
	if last, ok := topics[pk.TopicName]; ok && last.id.Compare(id) >= 0 {
		return
	}
	known := retainedID{id: id}
	if len(p.Payload) == 0 {
		known.cleared = r.now().UnixMilli()
	}
	topics[pk.TopicName] = known
	r.replace(app, &pk)
}

// replace puts pk in the place of what is retained on its topic. r.mu is held.
func (r *retainedStore) replace(app broker.AppID, pk *packets.Packet) {
	use := r.after(app, pk)
	r.used[app] = &use
	r.index.RetainMessage(*pk)
}

// ids returns the last change of each topic on which something is retained.
func (r *retainedStore) ids(app broker.AppID) map[string]broker.MessageID {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make(map[string]broker.MessageID, len(r.known[app]))
	for topic, known := range r.known[app] {
		if known.cleared == 0 {
			all[topic] = known.id
		}
	}
	return all
}

// forget forgets what is retained on a topic unless it changed since id.
func (r *retainedStore) forget(app broker.AppID, topic string, id broker.MessageID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known[app][topic].id == id {
		delete(r.known[app], topic)
		r.replace(app, &packets.Packet{TopicName: topic})
	}
}

// match returns what is retained on topics that filter matches, ready to be delivered but for QoS and identifiers.
func (r *retainedStore) match(filter string, now int64) []broker.Out {
	found := r.index.Messages(filter)
	if parent, ok := strings.CutSuffix(filter, "/#"); ok { // the index leaves the parent out [MQTT-4.7.1-2]
		found = append(found, r.index.Messages(parent)...)
	}
	var outs []broker.Out
	for i := range found {
		if m := &found[i]; m.Expiry == 0 || m.Expiry > now {
			outs = append(outs, broker.Out{
				Kind: broker.OutPublish, Topic: m.TopicName, Payload: m.Payload, QoS: m.FixedHeader.Qos, Retain: true, // [MQTT-3.3.1-8]
				Props: domainProperties(m),
			})
		}
	}
	return outs
}

// sweep forgets what has expired [MQTT-3.3.2-5], and the ids of what was cleared long ago.
func (r *retainedStore) sweep(now int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for app, topics := range r.known {
		for topic, known := range topics {
			pk, retained := r.index.Retained.Get(topic)
			switch {
			case known.cleared != 0 && now-known.cleared >= clearedFor.Milliseconds():
				delete(topics, topic)
			case retained && pk.Expiry != 0 && pk.Expiry <= now:
				delete(topics, topic)
				r.replace(app, &packets.Packet{TopicName: topic})
			}
		}
	}
}

// retainedSize is about what a retained message takes in memory.
func retainedSize(pk *packets.Packet) int {
	n := len(pk.TopicName) + len(pk.Payload) + len(pk.Properties.ContentType) + len(pk.Properties.ResponseTopic) + len(pk.Properties.CorrelationData)
	for _, u := range pk.Properties.User {
		n += len(u.Key) + len(u.Val)
	}
	return n
}

func engineProperties(p *broker.Properties) packets.Properties {
	e := packets.Properties{
		ContentType: p.ContentType, ResponseTopic: p.ResponseTopic, CorrelationData: p.CorrelationData,
		PayloadFormatFlag: p.TextFormat,
	}
	for _, u := range p.User {
		e.User = append(e.User, packets.UserProperty{Key: u.Name, Val: u.Value})
	}
	return e
}

func domainProperties(pk *packets.Packet) *broker.Properties {
	e := &pk.Properties
	p := &broker.Properties{
		ContentType: e.ContentType, ResponseTopic: e.ResponseTopic, CorrelationData: e.CorrelationData,
		TextFormat: e.PayloadFormatFlag, Expires: pk.Expiry,
	}
	for _, u := range e.User {
		p.User = append(p.User, broker.UserProperty{Name: u.Key, Value: u.Val})
	}
	return p
}
