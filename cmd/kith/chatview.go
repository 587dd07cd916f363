package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"kith/broker"
)

// show prints what arrives.
func (c *conversation) show(m *paho.Publish) {
	a, ok := readArrival(m)
	if !ok {
		return
	}
	switch {
	case a.Kind == "presence":
		c.say("* %s is %s", printable(a.Peer), printable(a.Status))
	case a.Kind == "event":
		c.showEvent(&a)
	case a.From == string(c.self):
		c.say("%s you, on another device, to %s: %s", a.clock(), printable(a.To), a.text())
	default:
		c.say("%s %s: %s%s", a.clock(), printable(a.From), a.text(), waited(&a))
	}
}

func (c *conversation) showEvent(a *arrival) {
	var detail struct {
		MessageID string `json:"message_id"`
		To        string `json:"to"`
		Count     int64  `json:"count"`
		OK        *bool  `json:"ok"`
		Message   string `json:"message"`
	}
	if json.Unmarshal(a.Detail, &detail) != nil {
		return // a newer server's
	}
	switch a.Event {
	case "receipt":
		c.received(detail.MessageID, detail.To)
	case "missed":
		c.say("* %s fell out of the queue; the history has them", count(int(detail.Count), "message"))
	case "error":
		c.say("! %s", printable(detail.Message))
	case "reply":
		if detail.OK != nil && !*detail.OK {
			c.say("! %s", printable(detail.Message))
		}
	}
}

// received shows a receipt, at once or when the message's id is known here. Those of other devices' messages are not shown.
func (c *conversation) received(id, by string) {
	c.mu.Lock()
	i := slices.IndexFunc(c.sent, func(d delivered) bool { return d.id == id })
	text := ""
	if i >= 0 {
		text = c.sent[i].text
	} else {
		c.early = keepLast(append(c.early, delivered{id, by}))
	}
	c.mu.Unlock()
	if i >= 0 {
		c.sayReceived(by, text)
	}
}

// remember notes that the server has a message.
func (c *conversation) remember(sent delivered) {
	c.mu.Lock()
	c.sent = keepLast(append(c.sent, sent))
	i := slices.IndexFunc(c.early, func(d delivered) bool { return d.id == sent.id })
	by := ""
	if i >= 0 {
		by = c.early[i].text
		c.early = slices.Delete(c.early, i, i+1)
	}
	c.mu.Unlock()
	if i >= 0 {
		c.sayReceived(by, sent.text)
	}
}

func (c *conversation) sayReceived(by, text string) {
	c.say("  ✓ %s received: %s", printable(by), printable(text))
}

func keepLast(all []delivered) []delivered {
	return slices.Delete(all, 0, max(len(all)-sentKept, 0))
}

// turnTo writes to another peer from now on, and watches it.
func (c *conversation) turnTo(ctx context.Context, name string) {
	to, ok := broker.ParsePeerID(name)
	if !ok {
		c.say("! write /to <peer>: 1–50 characters without spaces and / + # : $")
		return
	}
	c.mu.Lock()
	known := slices.Contains(c.watch, to)
	if !known {
		c.watch = append(c.watch, to)
	}
	c.to = to
	c.mu.Unlock()
	c.say("* writing to %s", to)
	if known {
		return
	}
	if err := c.client.requestWatch(ctx, to); err != nil {
		c.say("* %s is watched at the next connection (%v)", to, err)
	}
}

const requestTimeout = 5 * time.Second

// requestWatch sends a watch request; its reply comes as an event.
func (s *client) requestWatch(ctx context.Context, peer broker.PeerID) error {
	fields := struct {
		*signed
		Peers []broker.PeerID `json:"peers"`
	}{Peers: []broker.PeerID{peer}}
	if s.key != "" {
		fields.signed = &signed{Timestamp: time.Now().Unix(), Nonce: newNonce()}
		fields.Signature = broker.SignOpen(s.key, s.app, s.peer, fields.Peers, fields.Timestamp, fields.Nonce, false)
	}
	payload, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	resp, err := s.Publish(ctx, &paho.Publish{QoS: 1, Topic: fmt.Sprintf("%s/request/%s/watch", s.app, s.peer), Payload: payload})
	return publishError(resp, err)
}
