package broker

import "time"

// What a session has of {app}/topic/ above QoS 0 and its client has not acknowledged is kept in memory, by the topic router, until the
// client resumes the MQTT session on this node.

// LeftTopics are the deliveries of {app}/topic/ that an ended session leaves, in order: first those sent, with their packet identifiers;
// one of which PUBREC came is an OutRelease.
func (s *Session) LeftTopics() (left []Out) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, open := range [2][]flight{s.out.flights.all(), s.out.resend.all()} {
		for i := range open {
			f := &open[i]
			if f.topic == nil || f.done {
				continue
			}
			next := *f.topic
			next.Tag = f.tag
			if f.received {
				next.Kind = OutRelease
			}
			left = append(left, next)
		}
	}
	for i := range s.out.volatile.all() {
		if next := s.out.volatile.at(i); next.Kind == OutPublish && next.QoS > 0 {
			left = append(left, *next)
		}
	}
	return left
}

// TakeTopics gives a resumed session what the one before it left. It is called before the first Next.
func (s *Session) TakeTopics(left []Out) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range left {
		next := left[i]
		if next.Tag == 0 {
			s.out.volatile.push(next)
			continue
		}
		if s.out.tags == nil {
			s.out.tags = make(map[uint16]struct{})
		}
		s.out.tags[next.Tag] = struct{}{}
		s.out.resend.push(flight{tag: next.Tag, qos: next.QoS, received: next.Kind == OutRelease, presence: true, topic: &next})
	}
}

// Ended reports whether the session has ended.
func (s *Session) Ended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// Kept tells, after End, whether the MQTT session may be resumed, and until when; how many messages may wait for it; and when it opened,
// in Unix milliseconds, which a session that resumes it knows.
func (s *Session) Kept() (opened int64, until time.Time, most int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.since, s.b.now().Add(s.expiry), s.app.cfg.Load().Queue.Messages, s.kept
}

// Resumed returns when the session opened that this one goes on with, in Unix milliseconds; 0: it is a new one.
func (s *Session) Resumed() int64 { return s.resumed }
