package broker

// Written says that everything Next returned so far was written to the connection: deliveries at QoS 0 then count as
// acknowledged (spec 2).
func (s *Session) Written() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.out.atOnce) > 0 {
		for i := range s.out.atOnce {
			p := &s.out.atOnce[i]
			s.mark(p.log, trailAcked, p.at.N)
		}
		clear(s.out.atOnce)
		s.out.atOnce = s.out.atOnce[:0]
		s.out.told = missed{}
		s.markDirty()
	}
}

// Acked takes the client's PUBACK or PUBCOMP.
func (s *Session) Acked(tag uint16) { s.settleDelivery(tag, true) }

// Rejected takes the client's PUBACK or PUBREC that refuses (0x80 and above): the delivery is over, and its sender gets no receipt.
func (s *Session) Rejected(tag uint16) { s.settleDelivery(tag, false) }

func (s *Session) settleDelivery(tag uint16, arrived bool) {
	s.mu.Lock()
	f := s.out.ack(tag)
	if f == nil {
		s.mu.Unlock()
		return
	}
	wake := s.out.pending.len() > 0 || s.out.resend.len() > 0 || s.out.order.len() > 0 || s.out.volatile.len() > 0 || s.out.nextBehind() != nil
	if !f.presence {
		what := trailAcked
		if !arrived {
			what = trailRefused
		}
		if f.log != nil { // nil: the peer left the group meanwhile
			s.mark(f.log, what, f.at.N)
		}
		s.markDirty()
	}
	s.mu.Unlock()
	if !f.presence && arrived {
		s.b.counters.acknowledged.Add(1)
	}
	if f.receipt != nil && arrived {
		s.b.appendReceipt(f.receipt, s.peer)
	}
	if wake {
		s.link.Wake()
	}
}

// Received takes the client's PUBREC; its PUBREL comes out of Next.
func (s *Session) Received(tag uint16) {
	s.mu.Lock()
	unknown := true
	for i := range s.out.flights.all() {
		if f := s.out.flights.at(i); f.tag == tag && !f.done {
			f.received, unknown = true, false
			break
		}
	}
	s.out.ready.push(Out{Kind: OutRelease, Tag: tag, Unknown: unknown})
	s.mu.Unlock()
	s.link.Wake()
}
