package load

import (
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"kith/broker"
)

// track is what a device got of a stream.
type track struct {
	first map[int]string // when a message came first
	last  string         // the highest id so far
	on    map[int]int    // the number of the connection on which it last came
}

var errEnded = errors.New("the server ended the connection")

// take handles what came.
func (d *Device) take(c *conn, p *packets.ControlPacket) error {
	d.mu.Lock()
	d.heard = time.Now()
	mute := d.mute
	d.mu.Unlock()
	switch p := p.Content.(type) {
	case *packets.Publish:
		d.arrived(p)
		if p.QoS == 1 && !mute {
			return c.write(&packets.Puback{PacketID: p.PacketID, Properties: &packets.Properties{}})
		}
	case *packets.Puback:
		d.answered(p)
	case *packets.Disconnect:
		return errEnded
	}
	return nil
}

// arrived judges what came by its topic: {app}/{kind}/….
func (d *Device) arrived(p *packets.Publish) {
	levels := strings.Split(p.Topic, "/")
	if len(levels) < 3 || levels[0] != string(d.app.ID) {
		d.load.counts.misdeliver("%s got %s", d, p.Topic)
		return
	}
	switch levels[1] {
	case "peer", "group":
		if levels[len(levels)-1] != "$event" {
			d.message(p)
		}
	case "presence":
		d.presence(broker.PeerID(levels[2]), string(p.Payload))
	case "event":
		d.event(broker.PeerID(levels[2]), levels[len(levels)-1], p.Payload)
	default:
		d.load.counts.misdeliver("%s got %s", d, p.Topic)
	}
}

func (d *Device) presence(peer broker.PeerID, state string) {
	if !d.app.watches(d.peer, peer) {
		d.load.counts.misdeliver("%s heard of %s, whom it does not watch", d, peer)
		return
	}
	d.mu.Lock()
	d.view[peer] = state
	d.mu.Unlock()
}

func (d *Device) event(peer broker.PeerID, kind string, body []byte) {
	if peer != d.peer {
		d.load.counts.misdeliver("%s got an event for %s", d, peer)
		return
	}
	if kind != "missed" {
		return
	}
	var missed struct{ Count int }
	if err := json.Unmarshal(body, &missed); err != nil {
		d.load.counts.wrong("%s: a missed event that does not parse", d)
		return
	}
	d.mu.Lock()
	d.missed += missed.Count
	d.noted("missed %d", missed.Count)
	d.mu.Unlock()
}

// message judges a message against its stream.
func (d *Device) message(p *packets.Publish) {
	number, n, ok := parseText(string(p.Payload))
	if !ok || number >= len(d.load.streams) {
		d.load.counts.misdeliver("%s got what nobody sent", d)
		return
	}
	s := d.load.streams[number]
	if p.Topic != s.topic || !s.isFor(d) {
		d.load.counts.misdeliver("%s got %s, which was for %s", d, p.Topic, s.topic)
		return
	}
	if string(p.Payload) != s.text(n, d.load.o.Size) {
		d.load.counts.misdeliver("%s got a message to %s with another content", d, s.topic)
	}
	d.load.counts.delivered.Add(1)
	id := string(userProperty(p.Properties, "id"))
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.tracks[number]
	if t == nil {
		t = &track{first: map[int]string{}, on: map[int]int{}}
		d.tracks[number] = t
	}
	before, seen := t.first[n]
	switch {
	case !seen:
		if id < t.last {
			d.load.counts.disorder("%s got %s, number %d, id %s, behind %s%s", d, s.topic, n, id, t.last, d.storyOnce())
		}
		t.first[n], t.last = id, max(t.last, id)
	case before != id:
		d.load.counts.duplicate("%s got %s, number %d, under two ids", d, s.topic, n)
	case t.on[n] == d.number:
		d.load.counts.duplicate("%s got %s, number %d, twice on one connection", d, s.topic, n)
	default:
		d.load.counts.redelivered.Add(1)
	}
	t.on[n] = d.number
}

// isFor reports whether a stream's messages may reach the device: receivers, and the sender's other devices.
func (s *Stream) isFor(d *Device) bool {
	if d.app != s.app || d == s.from {
		return false
	}
	if s.group != "" {
		return d.groups[s.group]
	}
	return d.peer == s.to || d.peer == s.from.peer
}
