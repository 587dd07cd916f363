package broker

import (
	"context"
	"maps"
	"slices"
	"strings"
)

// allowWatches checks that the session may watch these peers by SUBSCRIBE: what it watches already needs nothing, the rest
// needs room and, where the app asks for signatures, to be in the proof's list (spec 4).
func (s *Session) allowWatches(ctx context.Context, cfg *AppConfig, peers []PeerID, proof *WatchProof) *Error {
	s.mu.Lock()
	fresh := slices.DeleteFunc(slices.Clone(peers), func(p PeerID) bool { return s.watch[p] != nil })
	count := len(s.watch)
	s.mu.Unlock()
	if len(fresh) == 0 {
		return nil
	}
	if err := checkWatchRoom(cfg, count, len(fresh)); err != nil {
		return err
	}
	if proof == nil {
		if cfg.Signature.Required {
			return Errorf(SignatureFailed, "this app requires a signed watch list in the user properties watch, timestamp, nonce and signature")
		}
		return nil
	}
	if !cfg.Signature.Required {
		return nil
	}
	return s.checkProof(ctx, cfg, fresh, proof)
}

func checkWatchRoom(cfg *AppConfig, have, more int) *Error {
	if more > cfg.Watch.PerCall {
		return Errorf(LimitExceeded, "at most %d ids may be watched in one call", cfg.Watch.PerCall)
	}
	if have+more > cfg.Watch.PerSession {
		return Errorf(LimitExceeded, "a session may watch at most %d peers", cfg.Watch.PerSession)
	}
	return nil
}

// checkProof checks the signed list of a SUBSCRIBE and that it holds peers.
func (s *Session) checkProof(ctx context.Context, cfg *AppConfig, peers []PeerID, w *WatchProof) *Error {
	listed, perr := parsePeerList("watch", strings.Split(w.Watch, ":"), cfg.Watch.PerCall)
	if perr != nil {
		return perr
	}
	for _, p := range peers {
		if !slices.Contains(listed, p) {
			return Errorf(SignatureFailed, "the signed watch list does not hold %s", p)
		}
	}
	p := proof{timestamp: w.Timestamp, nonce: w.Nonce, signature: w.Signature}
	text := openText(s.app.id, s.peer, joinSorted(listed), w.Timestamp, w.Nonce, false)
	if err := s.b.verify(ctx, s.app, &p, text, s.peer, s.clientID, "subscribe", reuseWindow); err != nil {
		return AsError(err)
	}
	return nil
}

// addPresenceSub watches a peer by SUBSCRIBE.
func (s *Session) addPresenceSub(to PeerID, sub *Subscription) {
	own := &ownSub{Filter: sub.Filter, QoS: sub.QoS, RetainAsPublished: sub.RetainAsPublished, Identifier: sub.Identifier}
	s.mu.Lock()
	w := s.watchEntry(to)
	quiet := sub.RetainHandling == 2 || sub.RetainHandling == 1 && w.sub != nil
	w.sub = own
	s.mu.Unlock()
	s.b.ensureKnown(s.app.id, []PeerID{to})
	s.b.addWatcher(s, to, quiet)
	s.dropIfEnded(to)
}

func (s *Session) removePresenceSub(to PeerID) (existed bool) {
	s.mu.Lock()
	w := s.watch[to]
	existed = w != nil && w.sub != nil
	s.mu.Unlock()
	if w != nil {
		s.unwatch([]PeerID{to}) // UNSUBSCRIBE unwatches, however the watch was made (spec 4)
	}
	return existed
}

// watches reports whether the session watches a peer, however the watch was made.
func (s *Session) watches(to PeerID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.watch[to] != nil
}

// watchEntry returns the session's entry for a watched peer, made if needed. s.mu is held.
func (s *Session) watchEntry(to PeerID) *watched {
	if s.watch == nil {
		s.watch = make(map[PeerID]*watched)
	}
	w := s.watch[to]
	if w == nil {
		w = &watched{}
		s.watch[to] = w
	}
	return w
}

// watchByRequest watches peers as the list at open and the watch request do, and returns those online.
func (s *Session) watchByRequest(peers []PeerID) (online []PeerID) {
	s.mu.Lock()
	for _, p := range peers {
		s.watchEntry(p).request = true
	}
	s.mu.Unlock()
	online = []PeerID{}
	s.b.ensureKnown(s.app.id, peers)
	for _, p := range peers {
		if s.b.addWatcher(s, p, false) {
			online = append(online, p)
		}
		s.dropIfEnded(p)
	}
	return online
}

// dropIfEnded takes a watch back that was made while the session ended.
func (s *Session) dropIfEnded(to PeerID) {
	s.mu.Lock()
	ended := s.ended
	s.mu.Unlock()
	if ended {
		s.b.removeWatcher(s, to)
	}
}

func (s *Session) unwatch(peers []PeerID) {
	s.mu.Lock()
	for _, p := range peers {
		delete(s.watch, p)
		delete(s.out.presence, p)
	}
	s.mu.Unlock()
	for _, p := range peers {
		s.b.removeWatcher(s, p)
	}
}

// watchedPeers returns whom the session watches, sorted.
func (s *Session) watchedPeers() []PeerID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.watch))
}

// queuePresence queues a peer's state for the session and reports whether to wake its link. It is called under the shard's lock.
func (s *Session) queuePresence(peer PeerID, state presenceState) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.watch[peer]
	if s.ended || w == nil || s.mode == receiveNone || s.mode == receiveMessages && w.sub == nil {
		return false
	}
	o := &s.out
	if o.presence == nil {
		o.presence = make(map[PeerID]presenceState)
	}
	if old, waits := o.presence[peer]; waits {
		state.retain = state.retain || old.retain // the watcher has heard nothing yet
	} else {
		o.order.push(peer)
	}
	o.presence[peer] = state
	return true
}

// renderPresence turns a peer's state into what is sent; ok is false when it is no longer watched.
func (s *Session) renderPresence(peer PeerID, state presenceState) (next Out, ok bool) {
	w := s.watch[peer]
	if w == nil {
		return Out{}, false
	}
	next = Out{Kind: OutPublish, QoS: 1, Retain: state.retain, TS: state.ts, Payload: []byte(presenceOffline)}
	next.Topic = string(s.app.id) + "/presence/" + string(peer)
	if state.online {
		next.Payload = []byte(presenceOnline)
	}
	if w.sub != nil {
		next.QoS = min(1, w.sub.QoS)
		next.Retain = next.Retain || w.sub.RetainAsPublished
		if w.sub.Identifier != 0 {
			next.SubIDs = []uint32{w.sub.Identifier}
		}
	}
	return next, true
}
