package broker

import (
	"context"
	"slices"
	"strings"
)

// maxOwnSubs bounds a session's subscriptions to its own topics.
const maxOwnSubs = 100

// ownSub is a subscription to one's own topics or to a peer's presence.
type ownSub struct {
	Filter            string `json:"filter"`
	QoS               byte   `json:"qos"`
	RetainAsPublished bool   `json:"rap,omitempty"`
	Identifier        uint32 `json:"id,omitempty"`
}

// grant is how a topic of one's own is delivered.
type grant struct {
	qos     byte
	ids     []uint32
	stopped bool
	rap     bool
}

// granted says how a message is delivered: without any subscription at QoS 1, else as subscribed (spec 2).
func (s *Session) granted(m *Message, to PeerID) grant {
	if len(s.subs) == 0 && len(s.stopped) == 0 {
		return grant{qos: 1}
	}
	t := string(s.app.id)
	if m.Group != "" {
		t += "/group/" + string(m.Group) + "/" + string(m.From)
	} else {
		t += "/peer/" + string(to) + "/" + string(m.From)
	}
	return s.grantFor(t, true)
}

// grantFor says how topic t is delivered; implied tells whether it comes without subscribing.
func (s *Session) grantFor(t string, implied bool) grant {
	g, matched := grant{}, false
	for i := range s.subs {
		sub := &s.subs[i]
		if !matchFilter(sub.Filter, t) {
			continue
		}
		matched = true
		g.qos = max(g.qos, sub.QoS) // one copy at the highest QoS [MQTT-3.3.4-2]
		g.rap = g.rap || sub.RetainAsPublished
		if sub.Identifier != 0 {
			g.ids = append(g.ids, sub.Identifier)
		}
	}
	if matched {
		return g
	}
	stopped := !implied || slices.ContainsFunc(s.stopped, func(f string) bool { return matchFilter(f, t) })
	return grant{qos: 1, stopped: stopped}
}

// Subscribe answers a SUBSCRIBE: for each filter nil or the refusal, and whether it is one of {app}/topic/, which the
// topic router then serves. proof is the signed watch list that came with it, or nil.
func (s *Session) Subscribe(ctx context.Context, subs []Subscription, proof *WatchProof) (errs []*Error, topics []bool) {
	errs, topics = make([]*Error, len(subs)), make([]bool, len(subs))
	cfg := s.app.cfg.Load()
	var watches []PeerID
	for i := range subs {
		kind, watch, err := s.checkFilter(cfg, subs[i].Filter)
		errs[i], topics[i] = err, kind == topicFree && err == nil
		if err == nil && kind == topicPresence {
			watches = append(watches, watch)
		}
	}
	var watchErr *Error
	if len(watches) > 0 {
		watchErr = s.allowWatches(ctx, cfg, watches, proof)
	}
	for i := range subs {
		if topics[i] {
			s.addTopicSub(&subs[i])
		}
		if errs[i] != nil || topics[i] {
			continue
		}
		parsed := parseTopic(s.app.id, subs[i].Filter)
		if parsed.kind != topicPresence {
			errs[i] = s.addOwnSub(&subs[i])
			continue
		}
		to := PeerID(parsed.first)
		if watchErr != nil && !s.watches(to) { // what is watched already needs no proof, whatever came with it (spec 4)
			errs[i] = watchErr
			continue
		}
		s.addPresenceSub(to, &subs[i])
	}
	s.countRefused(errs)
	s.link.Wake()
	return errs, topics
}

// checkFilter says in which space a filter lies, or why it is refused (spec 3).
func (s *Session) checkFilter(cfg *AppConfig, filter string) (kind topicKind, watch PeerID, err *Error) {
	plain := filter
	shared := strings.HasPrefix(filter, "$share/")
	if shared {
		parts := strings.SplitN(filter, "/", 3)
		if len(parts) != 3 || parts[1] == "" || hasWildcard(parts[1]) {
			return topicNone, "", errFilter(filter)
		}
		if len(parts[1]) > maxTopicBytes {
			return topicNone, "", Errorf(LimitExceeded, "a shared subscription with a name of over %d bytes", maxTopicBytes)
		}
		plain = parts[2]
	}
	parsed := parseTopic(s.app.id, plain)
	if shared && parsed.kind != topicFree {
		return topicNone, "", errFilter(filter)
	}
	self := string(s.peer)
	own := false
	switch parsed.kind {
	case topicFree:
		return topicFree, "", s.checkFree(cfg, parsed)
	case topicPresence:
		p, ok := ParsePeerID(parsed.first)
		if !ok {
			return topicNone, "", errFilter(filter)
		}
		return topicPresence, p, nil
	case topicPeer:
		own = parsed.first == self && lastLevel(parsed.second) || parsed.second == self && (parsed.first == "+" || isPeerName(parsed.first, maxPeerChars))
	case topicGroup:
		_, named := ParseGroupID(parsed.first)
		own = (named || parsed.first == "+") && (lastLevel(parsed.second) || parsed.second == "$event")
	case topicEvent:
		own = parsed.first == self && lastLevel(parsed.second)
	}
	if !own {
		return topicNone, "", errFilter(filter)
	}
	return parsed.kind, "", nil
}

// lastLevel reports whether s may stand last in a filter of one's own: a wildcard or a name.
func lastLevel(s string) bool { return s == "+" || s == "#" || isPeerName(s, maxPeerChars) }

func errFilter(filter string) *Error {
	return Errorf(InvalidTarget, "%q is not one of your own topics", clip(filter))
}

func (s *Session) addOwnSub(sub *Subscription) *Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	own := ownSub{Filter: sub.Filter, QoS: sub.QoS, RetainAsPublished: sub.RetainAsPublished, Identifier: sub.Identifier}
	if i := slices.IndexFunc(s.subs, func(o ownSub) bool { return o.Filter == sub.Filter }); i >= 0 {
		s.subs[i] = own // [MQTT-3.8.4-3]
	} else if len(s.subs) >= maxOwnSubs {
		return Errorf(LimitExceeded, "over %d subscriptions", maxOwnSubs)
	} else {
		s.subs = append(s.subs, own)
	}
	s.stopped = slices.DeleteFunc(s.stopped, func(f string) bool { return coversFilter(sub.Filter, f) })
	s.resume()
	return nil
}

// addTopicSub remembers a subscription that the topic router serves, for the session's next connection.
func (s *Session) addTopicSub(sub *Subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.IndexFunc(s.topics, func(o Subscription) bool { return o.Filter == sub.Filter }); i >= 0 {
		s.topics[i] = *sub
	} else {
		s.topics = append(s.topics, *sub) // bounded by the router
	}
}

// countRefused counts what was refused of one SUBSCRIBE, and logs it once.
func (s *Session) countRefused(errs []*Error) {
	n, last := 0, Code(0)
	for _, err := range errs {
		if err != nil {
			s.b.counters.refuse(err.Code)
			n, last = n+1, err.Code
		}
	}
	if n > 0 {
		s.logRefused("subscribe", last)
	}
}

// resume lets the pump try again what was held.
func (s *Session) resume() {
	for _, l := range s.out.logs {
		if l.held {
			l.held = false
			l.behind = l.loaded.N < l.head
		}
	}
}

// Unsubscribe answers an UNSUBSCRIBE: for each filter whether there was a subscription. Filters of {app}/topic/ are the topic
// router's; they answer false here.
func (s *Session) Unsubscribe(filters []string) (existed []bool) {
	existed = make([]bool, len(filters))
	for i, f := range filters {
		kind, watch, err := s.checkFilter(s.app.cfg.Load(), f)
		switch {
		case err != nil:
		case kind == topicFree:
			s.removeTopicSub(f)
		case kind == topicPresence:
			existed[i] = s.removePresenceSub(watch)
		default:
			existed[i] = s.removeOwnSub(f)
		}
	}
	return existed
}

func (s *Session) removeTopicSub(filter string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.topics = slices.DeleteFunc(s.topics, func(o Subscription) bool { return o.Filter == filter })
}

func (s *Session) removeOwnSub(filter string) (existed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.subs)
	s.subs = slices.DeleteFunc(s.subs, func(o ownSub) bool { return o.Filter == filter })
	if !slices.Contains(s.stopped, filter) && len(s.stopped) < maxOwnSubs {
		s.stopped = append(s.stopped, filter)
	}
	return len(s.subs) < n
}
