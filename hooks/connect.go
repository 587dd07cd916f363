package hooks

import (
	"bytes"
	"strings"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"kith/broker"
	"kith/broker/edge"
)

// maxKeepAlive is the longest keep-alive that an MQTT 5 client gets; one that asks for more, or for none, is told this
// as Server Keep Alive [MQTT-3.1.2-21]. MQTT 3.1.1 has no way to tell it: there the client's own value holds.
const maxKeepAlive = 600 * time.Second

// connect handles the first packet, which must be a CONNECT [MQTT-3.1.0-1], and reports whether a session is open.
func (c *conn) connect() bool {
	body, size := c.readConnect()
	if body == nil {
		return false
	}
	o := &opening{}
	if err := o.check(body); err != nil {
		f, _ := err.(*fault) //nolint:errorlint // check returns nothing else
		c.srv.log.Info("connect refused", "remote", c.remote(), "code", f.code, "reason", f.text)
		c.refuse(o.version, f.code, connackCode3(f), f.text)
		return false
	}
	from := edge.Of(c.nc)
	if err := from.Connect(); err != nil {
		c.srv.log.Debug("connect refused at the edge", "remote", c.remote(), "code", err.Code, "error", err.Message)
		r := reasonsOf(err)
		c.refuse(o.version, r.connack, r.connack3, err.Error())
		return false
	}
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connect, Remaining: len(body)}}
	if err := pk.ConnectDecode(bytes.Clone(body)); err != nil {
		c.refuse(o.version, faultMalformed.code, 0, faultMalformed.text)
		return false
	}
	c.in.consume(size)
	c.cl = c.srv.newClient(c)
	id := c.cl.ID
	c.enc.maximum = pk.Properties.MaximumPacketSize
	c.cl.ParseConnect(string(c.transport), pk)
	c.cl.ID = id

	c.opened = o
	defer func() { c.opened = nil }()
	if !c.srv.auth.OnConnectAuthenticate(c.cl, pk) {
		if o.err.Code == broker.SignatureFailed {
			from.SignatureFailed()
		}
		r := reasonsOf(o.err) // the broker has logged it
		c.refuse(o.version, r.connack, r.connack3, o.err.Error())
		return false
	}
	c.session = o.session
	c.dec.v5, c.dec.now = o.version == 5, c.srv.now
	c.enc = encoder{
		v5:          o.version == 5,
		problemInfo: !pk.Properties.RequestProblemInfoFlag || pk.Properties.RequestProblemInfo == 1,
		maximum:     pk.Properties.MaximumPacketSize,
		app:         string(o.session.App()),
		now:         c.srv.now,
	}
	c.expiry = pk.Properties.SessionExpiryInterval
	if !c.connack(o) {
		return false
	}
	c.dropClient() // it holds the whole CONNECT
	c.srv.topics.resume(c)
	c.srv.topics.welcome(c)
	return true
}

// connack answers with Session Present and what an MQTT 5 client must know, through the engine [MQTT-3.2.0-1].
func (c *conn) connack(o *opening) bool {
	var props packets.Properties
	keepAlive := time.Duration(c.cl.State.Keepalive) * time.Second
	if c.enc.v5 {
		if keepAlive == 0 || keepAlive > maxKeepAlive {
			keepAlive = maxKeepAlive
			c.cl.State.Keepalive, c.cl.State.ServerKeepalive = uint16(maxKeepAlive/time.Second), true
		}
		props = packets.Properties{
			MaximumPacketSize: maxPacket,
			TopicAliasMaximum: aliasMaximum,
			ResponseInfo:      string(o.session.App()) + "/event/" + string(o.session.Peer()) + "/", // sent when asked for [MQTT-3.1.2-28]
		}
		if o.expiryCut {
			props.SessionExpiryIntervalFlag = true
			props.SessionExpiryInterval = uint32(o.request.Expiry / time.Second) //nolint:gosec // shorter than what was asked
		}
	}
	c.keepAlive = keepAlive + keepAlive/2 // up to 65,535 s and a half, in a type that holds it
	if err := c.srv.engine.SendConnack(c.cl, packets.CodeSuccess, o.present, &props); err != nil {
		c.srv.log.Info("session refused", "app", o.request.App, "client_id", o.request.ClientID, "remote", c.remote(), "error", err)
		return false
	}
	return true
}

// readConnect waits for a whole CONNECT. It returns nil for anything else.
func (c *conn) readConnect() (body []byte, size int) {
	for {
		b, err := c.in.fill()
		if err != nil {
			return nil, 0
		}
		c.srv.count.bytesIn.Add(uint64(c.in.got)) //nolint:gosec // not negative
		if len(b) > 0 && b[0] != packets.Connect<<4 {
			return nil, 0
		}
		_, body, size, err := splitFrame(b)
		switch {
		case err == faultPacketSize: //nolint:errorlint // a sentinel of this package
			// The version stands behind the length, a few bytes in; whether it is there yet decides if there is an answer.
			if _, n := varint(b[1:]); len(b) > 7+n && strings.HasPrefix(string(b[1+n:]), "\x00\x04MQTT\x05") {
				c.refuse(5, faultPacketSize.code, 0, faultPacketSize.text)
			}
			return nil, 0
		case err != nil:
			return nil, 0
		case size > 0:
			c.srv.count.packetsIn.Add(1)
			return body, size
		}
		c.in.consume(0)
	}
}

// refuse answers CONNECT with a refusal, in the client's version. A code of 0 means that there is no answer but the closing.
func (c *conn) refuse(version, code5, code3 byte, text string) {
	c.srv.count.refused.Add(1)
	switch {
	case version >= 5:
		props := appendText([]byte{packets.PropReasonString}, text)
		if code5 == faultMoved.code && c.srv.reference != "" {
			code5, props = faultMovedTo.code, appendText(append(props, packets.PropServerReference), c.srv.reference)
		}
		rest := 2 + varintLen(len(props)) + len(props)
		if c.enc.maximum > 0 && rest+3 > int(c.enc.maximum) { // [MQTT-3.2.2-19]
			c.out.write([]byte{packets.Connack << 4, 3, 0, code5, 0})
			return
		}
		b := appendVarint([]byte{packets.Connack << 4}, rest)
		b = appendVarint(append(b, 0, code5), len(props)) // Session Present is 0 [MQTT-3.2.2-6]
		c.out.write(append(b, props...))
	case code3 != 0:
		c.out.write([]byte{packets.Connack << 4, 2, 0, code3})
	}
}

func connackCode3(f *fault) byte {
	if f == faultVersion {
		return 1
	}
	return 0
}

// opening is a CONNECT on its way through the auth hook.
type opening struct {
	version   byte
	will      *broker.Publish
	request   broker.OpenRequest
	expiryCut bool // the session expiry is shorter than asked for
	session   session
	present   bool
	err       *broker.Error
}

// check judges a CONNECT before the engine decodes it, and takes the will out of it.
func (o *opening) check(body []byte) error {
	f := fields{b: body}
	name, level := f.text(), f.u8()
	switch {
	case f.bad:
		return faultMalformed
	case string(name) == "MQIsdp" || string(name) == "MQTT" && level < 4:
		o.version = 3
		return faultVersion // [MQTT-3.1.2-2]
	case string(name) != "MQTT":
		return faultMalformed // [MQTT-3.1.2-1]
	case level > 5:
		o.version = 5
		return faultVersion
	}
	o.version = level
	flags := f.u8()
	f.u16()
	will, qos, retain := flags&4 != 0, flags>>3&3, flags&32 != 0
	user, password := flags&128 != 0, flags&64 != 0
	switch {
	case flags&1 != 0, // [MQTT-3.1.2-3]
		qos == 3,                        // [MQTT-3.1.2-12]
		!will && (qos != 0 || retain),   // [MQTT-3.1.2-11] [MQTT-3.1.2-13]
		level == 4 && password && !user: // [MQTT-3.1.2-22] of 3.1.1
		return faultMalformed
	}
	if level == 5 {
		if err := checkConnectProperties(&f); err != nil {
			return err
		}
	}
	f.text() // client id
	if will {
		o.will = &broker.Publish{QoS: qos, Retain: retain}
		if level == 5 {
			list := f.properties(inWill)
			if passed(o.will, &list, time.Now); list.fault != nil {
				return list.fault
			}
			o.will.Props.Expires = 0 // counts from when the will is published: OpenRequest.WillExpiry
		}
		o.will.Topic = bytes.Clone(f.text())
		o.will.Payload = bytes.Clone(f.bin())
		if !f.bad && (len(o.will.Topic) == 0 || bytes.ContainsAny(o.will.Topic, "+#")) {
			return faultTopicName
		}
	}
	if user {
		f.text()
	}
	if password {
		f.bin()
	}
	if f.bad || len(f.b) != 0 {
		return faultMalformed
	}
	return nil
}

func checkConnectProperties(f *fields) error {
	list := f.properties(1 << packets.Connect)
	for p := (property{}); list.next(&p); {
		switch p.id {
		case packets.PropReceiveMaximum, packets.PropMaximumPacketSize:
			if p.num == 0 {
				return faultZero
			}
		case packets.PropAuthenticationMethod:
			return faultAuthMethod // [MQTT-4.12.0-1]
		case packets.PropAuthenticationData:
			return faultProperty
		}
	}
	if list.fault != nil {
		return list.fault
	}
	return nil
}
