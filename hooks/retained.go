package hooks

import (
	"strings"
	"sync"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"kith/broker"
)

// What one app may have retained under {app}/topic/. It is kept in memory and ends with the process.
const (
	maxRetained      = 10_000
	maxRetainedBytes = 16 << 20
)

// retainedStore bounds and serves the engine's retained messages. In them, Expiry is in Unix milliseconds: the engine's own
// expiry, in seconds, never runs.
type retainedStore struct {
	index *mqtt.TopicsIndex
	mu    sync.Mutex // makes a look at the store and the change one step
	used  map[broker.AppID]*retainedUse
}

type retainedUse struct{ messages, bytes int }

// set retains p, or forgets what was retained when its payload is empty [MQTT-3.3.1-5] to [MQTT-3.3.1-7].
func (r *retainedStore) set(app broker.AppID, topic string, payload []byte, p *broker.Publish) error {
	pk := packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: p.QoS, Retain: true},
		TopicName:   topic,
		Payload:     payload,
		Properties:  engineProperties(&p.Props),
		Created:     time.Now().Unix(),
		Expiry:      p.Props.Expires,
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	use := r.used[app]
	if use == nil {
		use = &retainedUse{}
		r.used[app] = use
	}
	after := *use
	if old, ok := r.index.Retained.Get(topic); ok {
		after.messages--
		after.bytes -= retainedSize(&old)
	}
	if len(payload) > 0 {
		after.messages++
		after.bytes += retainedSize(&pk)
		if after.messages > maxRetained || after.bytes > maxRetainedBytes {
			return broker.Errorf(broker.LimitExceeded, "over %d retained messages or %d bytes of them", maxRetained, maxRetainedBytes)
		}
	}
	*use = after
	r.index.RetainMessage(pk)
	return nil
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

// sweep forgets what has expired [MQTT-3.3.2-5].
func (r *retainedStore) sweep(now int64) {
	for topic, m := range r.index.Retained.GetAll() {
		if m.Expiry == 0 || m.Expiry > now {
			continue
		}
		app, _, _ := strings.Cut(topic, "/")
		r.mu.Lock()
		if last, ok := r.index.Retained.Get(topic); ok && last.Expiry == m.Expiry {
			r.index.RetainMessage(packets.Packet{TopicName: topic})
			if use := r.used[broker.AppID(app)]; use != nil {
				use.messages--
				use.bytes -= retainedSize(&last)
			}
		}
		r.mu.Unlock()
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
