package hooks

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"kith/broker"
)

// topicRouter carries {app}/topic/ (spec 3) on the engine's topic index. All filters in it begin with an app's id, which
// holds no wildcard and no $, so apps cannot meet. It implements broker.TopicRouter.
//
// The index has a fault to work round: "a/+/#" does not match its parent "a/b" [MQTT-4.7.1-2]. Such a filter is entered a second
// time, as "a/+" under another name of the same client.
type topicRouter struct {
	index    *mqtt.TopicsIndex
	retained retainedStore

	sharesChanged func() // called after a change of shares; nil: nobody asks

	mu      sync.RWMutex
	conns   map[string]subscriber // that have entered a filter, by the engine's client id
	shares  map[string]int        // members of each shared subscription
	version uint64                // of shares
	absent  map[string]*absent    // by absentKey

	absentBytes atomic.Int64
}

// subscriber is a connection with a filter in the index.
type subscriber struct {
	session session // nil for one that is absent
	cl      *mqtt.Client
	shares  map[string]struct{} // shared subscriptions that it is a member of
	absent  *absent
}

// parentMark is what a client id or share name is followed by in the second entry of a filter that ends in "/+/#".
const parentMark = "\x00"

func newTopicRouter(index *mqtt.TopicsIndex, now func() time.Time) *topicRouter {
	return &topicRouter{index: index, retained: newRetainedStore(index, now), conns: make(map[string]subscriber), shares: make(map[string]int), absent: make(map[string]*absent)}
}

// Check implements broker.TopicRouter.
func (r *topicRouter) Check(app broker.AppID, p *broker.Publish) error {
	if bytes.Count(p.Topic, []byte{'/'}) >= maxLevels {
		return broker.Errorf(broker.LimitExceeded, "a topic of over %d levels", maxLevels)
	}
	if p.Retain {
		return r.retained.check(app, p)
	}
	return nil
}

// Retain implements broker.TopicRouter.
func (r *topicRouter) Retain(app broker.AppID, id broker.MessageID, p *broker.Publish) {
	r.retained.set(app, id, p)
}

// Retained implements broker.TopicRouter.
func (r *topicRouter) Retained(app broker.AppID) map[string]broker.MessageID {
	return r.retained.ids(app)
}

// Forget implements broker.TopicRouter.
func (r *topicRouter) Forget(app broker.AppID, topic string, id broker.MessageID) {
	r.retained.forget(app, topic, id)
}

// Publish implements broker.TopicRouter.
func (r *topicRouter) Publish(from *broker.Session, app broker.AppID, p *broker.Publish, mine func(string) bool) {
	var s session
	if from != nil {
		s = from
	}
	r.publish(s, p, mine)
}

func (r *topicRouter) publish(from session, p *broker.Publish, mine func(string) bool) {
	topic := string(p.Topic)
	subs := r.index.Subscribers(topic)
	if len(subs.Subscriptions) == 0 && len(subs.Shared) == 0 {
		return
	}
	props := p.Props
	out := broker.Out{Kind: broker.OutPublish, Topic: topic, Payload: slices.Clone(p.Payload), Props: &props, QoS: p.QoS}
	for id, sub := range subs.Subscriptions {
		r.deliver(from, id, &sub, out, p.Retain)
	}
	for filter, members := range subs.Shared {
		if mine != nil && !mine(entered(filter)) {
			continue
		}
		if id, sub, ok := r.choose(members); ok {
			r.deliver(from, id, &sub, out, p.Retain)
		}
	}
}

// deliver sends out to one subscriber: at the lower QoS [MQTT-3.8.4-8], with its identifiers [MQTT-3.3.4-3].
func (r *topicRouter) deliver(from session, id string, sub *packets.Subscription, out broker.Out, retain bool) {
	r.mu.RLock()
	to, ok := r.conns[strings.TrimSuffix(id, parentMark)]
	r.mu.RUnlock()
	if !ok {
		return
	}
	out.QoS = min(out.QoS, sub.Qos)
	if own := from != nil && to.session == from; retain || own && sub.NoLocal {
		// The merged subscription has the options of any one; here it matters of which.
		var some bool
		if out.QoS, out.Retain, some = to.optionsFor(out.Topic, out.QoS, own, retain, sub); !some {
			return // [MQTT-3.8.3-3]
		}
	}
	out.SubIDs = identifiers(sub)
	if to.absent == nil && !to.session.Deliver(out) {
		r.mu.RLock()
		to = r.conns[strings.TrimSuffix(id, parentMark)] // it may have ended meanwhile
		r.mu.RUnlock()
	}
	if to.absent != nil {
		to.absent.add(out)
	}
}

// choose takes one of a shared subscription's members at random. Only connected ones are in the index.
func (r *topicRouter) choose(members map[string]packets.Subscription) (id string, sub packets.Subscription, ok bool) {
	if len(members) == 0 {
		return "", sub, false
	}
	n := rand.IntN(len(members)) //nolint:gosec // a share, not a secret
	for id, sub = range members {
		if n == 0 {
			break
		}
		n--
	}
	return id, sub, true
}

// optionsFor judges a subscriber's matching filters one by one: the highest QoS of those that are not No Local to the
// publisher, whether one of them keeps the retain flag [MQTT-3.3.1-12] [MQTT-3.3.1-13], and whether there is one at all.
func (s *subscriber) optionsFor(topic string, qos byte, own, retain bool, sub *packets.Subscription) (granted byte, keep, some bool) {
	if strings.HasPrefix(sub.Filter, "$share/") {
		return qos, retain && sub.RetainAsPublished, true
	}
	for filter, one := range s.cl.State.Subscriptions.GetAll() {
		if strings.HasPrefix(filter, "$share/") || !matches(filter, topic) || own && one.NoLocal {
			continue
		}
		granted = max(granted, min(qos, one.Qos))
		keep = keep || retain && one.RetainAsPublished
		some = true
	}
	return granted, keep, some
}

// matches reports whether a filter without $share matches a topic [MQTT-4.7.1-1] to [MQTT-4.7.1-3]. Topics here never begin with $.
func matches(filter, topic string) bool {
	for {
		f, restF, moreF := strings.Cut(filter, "/")
		if f == "#" {
			return true
		}
		t, restT, moreT := strings.Cut(topic, "/")
		if f != "+" && f != t {
			return false
		}
		if !moreF || !moreT {
			return moreF == moreT || moreF && restF == "#"
		}
		filter, topic = restF, restT
	}
}

func identifiers(sub *packets.Subscription) []uint32 {
	if sub.Identifiers == nil {
		if sub.Identifier == 0 {
			return nil
		}
		return []uint32{uint32(sub.Identifier)} //nolint:gosec // 28 bits
	}
	var ids []uint32
	for _, id := range sub.Identifiers {
		if id != 0 {
			ids = append(ids, uint32(id)) //nolint:gosec // 28 bits
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// enter makes a connection known before the engine indexes its filters.
func (r *topicRouter) enter(c *conn, filters packets.Subscriptions) {
	if len(filters) == 0 {
		return
	}
	r.join(c, filters)
	for _, sub := range filters {
		if filter, ok := parentFilter(sub.Filter); ok {
			sub.Filter = filter
			r.index.Subscribe(c.cl.ID+parentMark, sub)
		}
	}
}

// join makes a connection known, and a member of the shared subscriptions among filters.
func (r *topicRouter) join(c *conn, filters packets.Subscriptions) {
	r.mu.Lock()
	s, known := r.conns[c.cl.ID]
	if !known {
		s = subscriber{session: c.session, cl: c.cl, shares: make(map[string]struct{})}
		r.conns[c.cl.ID] = s
	}
	before := r.version
	for i := range filters {
		filter := filters[i].Filter
		if _, member := s.shares[filter]; !member && strings.HasPrefix(filter, "$share/") {
			s.shares[filter] = struct{}{}
			r.shares[filter]++
			r.version++
		}
	}
	changed := r.version != before
	r.mu.Unlock()
	r.tellShares(changed)
}

// part ends a connection's membership of shared subscriptions. r.mu is held.
func (r *topicRouter) part(s *subscriber, filter string) (changed bool) {
	if _, member := s.shares[filter]; !member {
		return false
	}
	delete(s.shares, filter)
	r.version++
	if r.shares[filter]--; r.shares[filter] == 0 {
		delete(r.shares, filter)
	}
	return true
}

func (r *topicRouter) tellShares(changed bool) {
	if changed && r.sharesChanged != nil {
		r.sharesChanged()
	}
}

// Shares implements broker.TopicRouter.
func (r *topicRouter) Shares() (version uint64, members map[string]int) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.version, maps.Clone(r.shares)
}

// unsubscribe takes filters out but for what the engine takes out itself: the second entries, and memberships.
func (r *topicRouter) unsubscribe(cl *mqtt.Client, filters packets.Subscriptions) {
	r.leaveParents(cl, filters)
	r.mu.Lock()
	s := r.conns[cl.ID]
	changed := false
	for i := range filters {
		changed = r.part(&s, filters[i].Filter) || changed
	}
	r.mu.Unlock()
	r.tellShares(changed)
}

// leaveParents takes out the second entries of filters.
func (r *topicRouter) leaveParents(cl *mqtt.Client, filters packets.Subscriptions) {
	for i := range filters {
		if filter, ok := parentFilter(filters[i].Filter); ok {
			r.index.Unsubscribe(filter, cl.ID+parentMark)
		}
	}
}

// leaveOne takes one filter out of the index.
func (r *topicRouter) leaveOne(cl *mqtt.Client, filter string) {
	r.index.Unsubscribe(filter, cl.ID)
	r.leaveParents(cl, packets.Subscriptions{{Filter: filter}})
}

// leave takes an engine's client and all its filters out.
func (r *topicRouter) leave(cl *mqtt.Client) {
	for filter := range cl.State.Subscriptions.GetAll() {
		r.leaveOne(cl, filter)
	}
	r.mu.Lock()
	s := r.conns[cl.ID]
	changed := false
	for filter := range s.shares {
		changed = r.part(&s, filter) || changed
	}
	delete(r.conns, cl.ID)
	r.mu.Unlock()
	r.tellShares(changed)
}

// resume enters the filters that a resumed session brings along [MQTT-3.1.2-4].
func (r *topicRouter) resume(c *conn) {
	kept, ok := c.session.(interface {
		TopicSubscriptions() []broker.Subscription
	})
	if !ok {
		return
	}
	var filters packets.Subscriptions
	for _, s := range kept.TopicSubscriptions() {
		filters = append(filters, packets.Subscription{
			Filter: s.Filter, Qos: s.QoS, NoLocal: s.NoLocal, RetainAsPublished: s.RetainAsPublished,
			RetainHandling: 2, Identifier: int(s.Identifier),
		})
	}
	if len(filters) == 0 {
		return
	}
	cl := c.client()
	r.enter(c, filters)
	for _, sub := range filters {
		r.index.Subscribe(cl.ID, sub)
		cl.State.Subscriptions.Add(sub.Filter, sub)
	}
}

// parentFilter returns the second entry's filter for one that ends in "/+/#".
func parentFilter(filter string) (string, bool) {
	parent, ok := strings.CutSuffix(filter, "/#")
	if !ok || !strings.HasSuffix(parent, "/+") {
		return "", false
	}
	if rest, shared := strings.CutPrefix(parent, "$share/"); shared {
		group, topic, _ := strings.Cut(rest, "/")
		return "$share/" + group + parentMark + "/" + topic, true
	}
	return parent, true
}

// entered is the filter that a shared subscription was entered with: the inverse of parentFilter.
func entered(filter string) string {
	name, topics, _ := strings.Cut(filter, parentMark)
	if len(name) == len(filter) {
		return filter
	}
	return name + topics + "/#"
}

// sendRetained delivers the retained messages of a new subscription [MQTT-3.3.1-9].
func (r *topicRouter) sendRetained(c *conn, sub *broker.Subscription) {
	var ids []uint32
	if sub.Identifier != 0 {
		ids = []uint32{sub.Identifier}
	}
	now := r.retained.now().UnixMilli()
	for _, m := range r.retained.match(sub.Filter, now) {
		m.QoS, m.SubIDs = min(m.QoS, sub.QoS), ids
		c.session.Deliver(m)
	}
}
