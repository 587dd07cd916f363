package broker

import "slices"

// What lies under {app}/topic/ is ordinary MQTT (spec 3). A message reaches the subscribers of its own node through the router, and those
// of the others through a note to each node: like transient messages, it is in no log, so what the bus loses is lost. Of each shared
// subscription the node where a message is published names the one that has it (shares.go). What is retained is a record (retained.go).

// TopicRouter fans out within a node. The broker decides who may, keeps what is retained, and reaches the other nodes.
type TopicRouter interface {
	// Check refuses, with an *Error, a publish that there is no room for.
	Check(app AppID, p *Publish) error
	// Publish hands p to all matching subscribers, and to one member of each shared subscription that mine says yes to; nil: to
	// each. It must not keep p.
	Publish(from *Session, app AppID, p *Publish, mine func(filter string) bool)
	// Shares returns how many members each shared subscription has here, by its whole filter. version grows with each change.
	Shares() (version uint64, members map[string]int)
	// Retain takes p up as what is retained on its topic, or as nothing when its payload is empty, unless it has one of a later id
	// there. It must not keep p.
	Retain(app AppID, id MessageID, p *Publish)
	// Retained returns the ids of what is retained in an app, by topic.
	Retained(app AppID) map[string]MessageID
	// Forget forgets what is retained on a topic under that id.
	Forget(app AppID, topic string, id MessageID)
}

// publishTopic publishes p, whose gate was passed, under {app}/topic/. What is retained is durable when it returns.
func (b *Broker) publishTopic(s *Session, app AppID, p *Publish) error {
	if err := b.topics.Check(app, p); err != nil {
		return err
	}
	var id MessageID
	if p.Retain {
		var err error
		if id, err = b.retain(app, p); err != nil {
			return err
		}
	}
	if b.cluster == nil {
		b.topics.Publish(s, app, p, nil)
		return nil
	}
	chosen := b.cluster.shares.choose(b.cluster, app, string(p.Topic))
	b.topics.Publish(s, app, p, b.cluster.takes(app, chosen))
	if others := b.cluster.others(); len(others) > 0 {
		note := encodeTopicNote(app, id, p, chosen)
		for _, node := range others {
			b.cluster.bus.Send(node, note)
		}
	}
	return nil
}

// heardTopic takes a publish that came to another node.
func (c *cluster) heardTopic(r *fieldReader) {
	app, id, p, chosen, ok := decodeTopicNote(r)
	if !ok || c.b.topics == nil {
		return
	}
	if p.Retain {
		c.b.topics.Retain(app, id, p)
	}
	c.b.topics.Publish(nil, app, p, c.takes(app, chosen))
}

// A note of a publish is the app, the id of what is retained, who was chosen for which shared subscription, and the publish.

func encodeTopicNote(app AppID, id MessageID, p *Publish, chosen []chosenShare) []byte {
	b := append(make([]byte, 0, 96+len(p.Topic)+len(p.Payload)+p.Props.Size()), byte(noteTopic))
	b = appendField(b, string(app))
	b = append(b, id[:]...)
	b = appendUvarint(b, len(chosen))
	for _, c := range chosen {
		b = appendField(appendField(b, c.filter), string(c.node))
	}
	return appendPublish(appendField(b, p.Topic), p)
}

func decodeTopicNote(r *fieldReader) (app AppID, id MessageID, p *Publish, chosen []chosenShare, ok bool) {
	app, id = AppID(r.text()), r.id()
	for range r.count() {
		chosen = append(chosen, chosenShare{r.text(), NodeID(r.text())})
	}
	topic := r.bytes()
	p, ok = readPublish(r)
	if ok {
		p.Topic = slices.Clone(topic)
	}
	return app, id, p, chosen, ok
}

// appendPublish appends what a publish is but for its topic.
func appendPublish(b []byte, p *Publish) []byte {
	b = append(b, p.QoS, flag(p.Retain))
	m := Message{Payload: p.Payload, Props: p.Props}
	b, err := m.AppendBinary(b)
	if err != nil {
		panic("broker: publish does not encode: " + err.Error()) // it passed the gate
	}
	return b
}

func readPublish(r *fieldReader) (*Publish, bool) {
	p := &Publish{QoS: r.byte(), Retain: r.byte() == 1}
	var m Message
	if r.bad || m.UnmarshalBinary(r.b) != nil {
		return nil, false
	}
	p.Payload, p.Props = m.Payload, m.Props
	return p, true
}
