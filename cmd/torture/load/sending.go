package load

import (
	"io"
	"slices"

	"github.com/eclipse/paho.golang/packets"
)

// window is how many messages a device has on their way at once.
const window = 32

// flight is a message on its way.
type flight struct {
	of  *Stream
	n   int
	tag uint16 // packet id
}

// send publishes one message to the stream whose turn it is, if there is a connection and room.
func (d *Device) send() {
	d.mu.Lock()
	c := d.conn
	if c == nil || len(d.flights) >= window {
		d.mu.Unlock()
		return
	}
	s := d.sends[d.turn]
	d.turn = (d.turn + 1) % len(d.sends)
	f := &flight{of: s, n: s.next(), tag: d.freeTag()}
	d.flights = append(d.flights, f)
	p := d.publish(f, false)
	d.mu.Unlock()
	// One goroutine sends, so that what is written is in the order of the flights. What fails is sent again after a reconnect.
	if c.write(p) != nil {
		_ = c.Close()
	}
}

func (d *Device) freeTag() uint16 {
	for {
		if d.tag++; d.tag != 0 && !slices.ContainsFunc(d.flights, func(f *flight) bool { return f.tag == d.tag }) {
			return d.tag
		}
	}
}

func (d *Device) publish(f *flight, again bool) *packets.Publish {
	return &packets.Publish{
		Topic: f.of.topic, QoS: 1, PacketID: f.tag, Duplicate: again, Payload: []byte(f.of.text(f.n, d.load.o.Size)),
		Properties: &packets.Properties{User: []packets.User{{Key: "id", Value: f.of.key(f.n)}}},
	}
}

// resend is what the connection before left unanswered, in order. d.mu is held.
func (d *Device) resend() []io.WriterTo {
	var list []io.WriterTo
	for _, f := range d.flights {
		f.of.sentAgain(f.n)
		list = append(list, d.publish(f, true))
	}
	return list
}

// answered takes an acknowledgement.
func (d *Device) answered(p *packets.Puback) {
	d.mu.Lock()
	i := slices.IndexFunc(d.flights, func(f *flight) bool { return f.tag == p.PacketID })
	if i < 0 {
		d.mu.Unlock()
		d.load.counts.wrong("%s: an acknowledgement of nothing, %d", d, p.PacketID)
		return
	}
	f := d.flights[i]
	d.flights = slices.Delete(d.flights, i, i+1)
	d.mu.Unlock()
	if p.ReasonCode >= 0x80 {
		f.of.answered(f.n, refused, "")
		d.load.counts.refusedMessage(d, p.Properties.ReasonString)
		return
	}
	f.of.answered(f.n, acknowledged, string(userProperty(p.Properties, "id")))
	d.load.counts.acked.Add(1)
}

func userProperty(p *packets.Properties, key string) string {
	if p != nil {
		for _, u := range p.User {
			if u.Key == key {
				return u.Value
			}
		}
	}
	return ""
}
