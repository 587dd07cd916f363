package hooks

import (
	"context"
	"strings"

	"github.com/mochi-mqtt/server/v2/packets"

	"kith/broker"
)

const (
	// maxTopicFilters bounds one connection's filters under {app}/topic/.
	maxTopicFilters = 1000
	// maxFilters bounds the filters of one SUBSCRIBE that the broker is asked about.
	maxFilters = 2000
)

// subscribe asks the broker about all filters, lets the engine index those under {app}/topic/ and answer, and then sends
// their retained messages.
func (c *conn) subscribe(pk *packets.Packet) error {
	a := &answer{codes: make([]byte, len(pk.Filters))}
	asked := make([]int, 0, len(pk.Filters)) // indexes into pk.Filters
	subs := make([]broker.Subscription, 0, len(pk.Filters))
	for i := range pk.Filters {
		f := &pk.Filters[i]
		if f.NoLocal && strings.HasPrefix(f.Filter, "$share/") {
			return faultNoLocal // [MQTT-3.8.3-4]
		}
		if a.codes[i] = filterFault(f.Filter); a.codes[i] == 0 && len(asked) == maxFilters {
			a.codes[i] = packets.ErrQuotaExceeded.Code
		}
		if a.codes[i] == 0 {
			asked = append(asked, i)
			subs = append(subs, broker.Subscription{
				Filter: f.Filter, QoS: f.Qos, NoLocal: f.NoLocal, RetainAsPublished: f.RetainAsPublished,
				RetainHandling: f.RetainHandling, Identifier: uint32(f.Identifier), //nolint:gosec // 28 bits
			})
		}
	}
	errs, topics := c.ask(subs, proofOf(pk))
	var retained []broker.Subscription
	room := maxTopicFilters - c.cl.State.Subscriptions.Len()
	for k, i := range asked {
		f := &pk.Filters[i]
		a.codes[i] = f.Qos // [MQTT-3.8.4-7]
		switch {
		case errs[k] != nil:
			a.codes[i] = reasonsOf(errs[k]).subscribe
			if a.reason == "" {
				a.reason = errs[k].Error()
			}
		case topics[k]:
			_, existed := c.cl.State.Subscriptions.Get(f.Filter)
			if !existed && room <= 0 {
				c.session.Unsubscribe([]string{f.Filter})
				a.codes[i] = packets.ErrQuotaExceeded.Code
				continue
			}
			if !existed {
				room--
			}
			if wantsRetained(f, existed) {
				retained = append(retained, subs[k])
			}
			indexed := *f
			indexed.RetainHandling = 2 // the engine sends none
			a.filters = append(a.filters, indexed)
		}
	}
	for i := range a.codes {
		a.codes[i] = subackCode(pk.ProtocolVersion, a.codes[i])
	}
	c.srv.topics.enter(c, a.filters)
	if err := c.hand(a, pk); err != nil {
		return err
	}
	for i := range retained {
		c.srv.topics.sendRetained(c, &retained[i])
	}
	return nil
}

// wantsRetained judges by Retain Handling [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11]; a shared subscription gets none.
func wantsRetained(f *packets.Subscription, existed bool) bool {
	return !strings.HasPrefix(f.Filter, "$share/") && (f.RetainHandling == 0 || f.RetainHandling == 1 && !existed)
}

func (c *conn) ask(subs []broker.Subscription, proof *broker.WatchProof) ([]*broker.Error, []bool) {
	if len(subs) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.srv.limits.open)
	defer cancel()
	return c.session.Subscribe(ctx, subs, proof)
}

// hand gives a packet to the engine, with the answer that it shall write.
func (c *conn) hand(a *answer, pk *packets.Packet) error {
	c.answer = a
	err := c.srv.engine.InjectPacket(c.cl, *pk)
	c.answer = nil
	if err != nil {
		return faultOf(err)
	}
	return nil
}

// unsubscribe tells the broker and lets the engine answer [MQTT-3.10.4-4] [MQTT-3.10.4-5].
func (c *conn) unsubscribe(pk *packets.Packet) error {
	filters := make([]string, len(pk.Filters))
	for i := range pk.Filters {
		filters[i] = pk.Filters[i].Filter
	}
	a := &answer{codes: make([]byte, len(pk.Filters))}
	for i, existed := range c.session.Unsubscribe(filters) {
		if _, indexed := c.cl.State.Subscriptions.Get(filters[i]); indexed {
			a.filters = append(a.filters, pk.Filters[i])
		} else if !existed {
			a.codes[i] = packets.CodeNoSubscriptionExisted.Code
		}
	}
	c.srv.topics.unsubscribe(c.cl, a.filters)
	return c.hand(a, pk)
}

// proofOf takes a signed watch list out of the user properties (spec 4); nil when there is none.
func proofOf(pk *packets.Packet) *broker.WatchProof {
	var p broker.WatchProof
	found := false
	for _, u := range pk.Properties.User {
		switch u.Key {
		case "watch":
			p.Watch = u.Val
		case "timestamp":
			p.Timestamp = u.Val
		case "nonce":
			p.Nonce = u.Val
		case "signature":
			p.Signature = u.Val
		default:
			continue
		}
		found = true
	}
	if !found {
		return nil
	}
	return &p
}
