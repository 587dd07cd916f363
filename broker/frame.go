package broker

// Frame is a message's encoded packet, made once and sent to many sessions; only the packet identifier differs.
type Frame struct {
	Bytes []byte
	Tag   int // where the two bytes of the packet identifier are; 0 at QoS 0
}

// FrameSlots is how many forms of a message's packet are kept: protocol version, QoS, with and without envelope.
const FrameSlots = 2 * 3 * 2

// Frame returns the packet kept under slot, nil if there is none. A link chooses the slots.
func (m *Message) Frame(slot int) *Frame {
	if kept := m.shared.Load(); kept != nil {
		return kept.frames[slot].Load()
	}
	return nil
}

// KeepFrame keeps a packet under slot. Its bytes must not change from then on.
func (m *Message) KeepFrame(slot int, f *Frame) { m.sharing().frames[slot].Store(f) }

// envelope returns the envelope of a message that did not wait, made once for all sessions.
func (m *Message) envelope() []byte {
	kept := m.sharing()
	if e := kept.envelope.Load(); e != nil {
		return *e
	}
	e := wrap(m, m.ID, false)
	kept.envelope.Store(&e)
	return e
}

// sharing returns what sessions share of the message, made when it is first wanted.
func (m *Message) sharing() *sharedForms {
	if kept := m.shared.Load(); kept != nil {
		return kept
	}
	m.shared.CompareAndSwap(nil, &sharedForms{})
	return m.shared.Load()
}
