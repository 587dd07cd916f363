package hooks

import (
	"bytes"
	"net"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"kith/broker"
)

// receiveMaximum is how many QoS 1 and 2 publishes an MQTT 5 client may have unanswered.
const receiveMaximum = 1000

var publishes = sync.Pool{New: func() any { return new(broker.Publish) }}

// packets handles the whole packets at the front of b, and returns how many bytes and packets those were.
func (c *conn) packets(b []byte) (n, count int, e *end) {
	p, _ := publishes.Get().(*broker.Publish)
	defer publishes.Put(p)
	for {
		first, body, size, err := splitFrame(b[n:])
		if err != nil {
			return n, count, c.cut(err)
		}
		if size == 0 {
			*p = broker.Publish{}
			return n, count, nil
		}
		if e := c.packet(first, body, p); e != nil {
			return n, count, e
		}
		n += size
		count++
	}
}

// packet handles one packet: those of the fast path here, the rest by way of the engine.
func (c *conn) packet(first byte, body []byte, p *broker.Publish) *end {
	kind := first >> 4
	switch kind {
	case packets.Publish:
		if err := c.dec.decode(p, first, body); err != nil {
			return c.cut(err)
		}
		if p.QoS > 0 && c.enc.v5 && !p.Dup && c.quota.Add(1) > receiveMaximum {
			return c.cut(faultReceiveMax) // [MQTT-3.3.4-9]
		}
		c.session.Publish(p)
		c.publish = true
		if c.session.Backlog() > readyLimit { // one read may hold hundreds of requests
			c.session.Submit()
			if !c.waitRoom() {
				e := c.lost(net.ErrClosed)
				return &e
			}
		}
	case packets.Puback, packets.Pubrec, packets.Pubrel, packets.Pubcomp:
		tag, reason, err := decodeAck(c.enc.v5, kind, body)
		switch {
		case err != nil:
			return c.cut(err)
		case kind == packets.Pubrel:
			c.session.Release(tag) // [MQTT-4.3.3-11]
		case kind == packets.Pubrec && reason < 0x80:
			c.session.Received(tag) // [MQTT-4.3.3-4]
		case reason >= 0x80 && kind != packets.Pubcomp:
			c.session.Rejected(tag)
		default:
			c.session.Acked(tag)
		}
	case packets.Pingreq:
		if len(body) != 0 {
			return c.cut(faultMalformed)
		}
		c.pings++
	case packets.Auth:
		return c.cut(faultAuth) // none was announced in CONNECT [MQTT-4.12.0-7]
	case packets.Disconnect:
		return c.disconnect(body)
	default:
		if err := c.inject(first, body); err != nil {
			return c.cut(err)
		}
		c.Wake()
	}
	return nil
}

// disconnect ends the connection as its client wishes [MQTT-3.14.4-1] [MQTT-3.14.4-3].
func (c *conn) disconnect(body []byte) *end {
	d, err := decodeDisconnect(c.enc.v5, body)
	if err != nil {
		return c.cut(err)
	}
	e := &end{how: broker.EndDisconnect}
	if d.reason != 0 { // only reason code 0 takes the will away
		e.how = broker.EndDisconnectWill
	}
	if d.given {
		if d.expiry > 0 && c.expiry == 0 {
			return c.cut(faultExpiry)
		}
		expiry := time.Duration(d.expiry) * time.Second
		e.expiry = &expiry
	}
	return e
}

// inject hands a checked packet to the engine.
func (c *conn) inject(first byte, body []byte) error {
	if err := checkBody(c.enc.v5, first>>4, body); err != nil {
		return err
	}
	pk := packets.Packet{ProtocolVersion: c.client().Properties.ProtocolVersion}
	defer c.releaseClient()
	if err := pk.FixedHeader.Decode(first); err != nil {
		return faultOf(err)
	}
	pk.FixedHeader.Remaining = len(body)
	body = bytes.Clone(body) // the engine's strings point into it
	var err error
	switch pk.FixedHeader.Type {
	case packets.Subscribe:
		if err = pk.SubscribeDecode(body); err == nil {
			return c.subscribe(&pk)
		}
	case packets.Unsubscribe:
		if err = pk.UnsubscribeDecode(body); err == nil {
			return c.unsubscribe(&pk)
		}
	default: // a second CONNECT [MQTT-3.1.0-2]
		err = c.srv.engine.InjectPacket(c.cl, pk)
	}
	if err != nil {
		return faultOf(err)
	}
	return nil
}
