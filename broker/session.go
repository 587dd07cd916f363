package broker

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Session is a peer connected on one device: opened by Broker.Open, over with End.
type Session struct {
	b          *Broker
	app        *app
	peer       PeerID
	device     DeviceID
	link       Link
	clientID   string
	claim      string // in a cluster: what stands for this session in its peer's whereabouts
	moved      bool   // in a cluster: its device was connected to another node until now
	others     []held // in a cluster: its peer's other devices when it claimed its own
	remote     string
	transport  string
	version    byte
	mode       receiveMode
	envelope   bool
	super      bool
	persisted  bool // its MQTT session outlives the connection: subscriptions and packet identifiers are kept
	since      int64
	maxPacket  uint32
	resumed    int64 // when the session opened whose MQTT session it goes on with, Unix milliseconds; 0: none
	clean      bool  // opened with Clean Start: the MQTT session before it is over
	heir       bool  // the session before it may have left a will that is held back
	will       *Publish
	willStored []byte // what stands for it in the store
	willDelay  time.Duration
	willExpiry time.Duration
	far        *furthest     // shared by the peer's sessions
	gone       chan struct{} // closed when the session ended

	ending sync.Mutex // held from the session's end until what it leaves is on its way to the store

	mu       sync.Mutex
	ended    bool
	how      EndReason     // with ended
	endedAt  time.Time     // with ended
	kept     bool          // with ended: its MQTT session may be resumed
	over     bool          // taken over with Clean Start: its MQTT session is over too
	expiry   time.Duration // of Kith's session after a lost connection
	watch    map[PeerID]*watched
	groups   map[GroupID]bool // the peer's groups; true for an open one
	subs     []ownSub
	topics   []Subscription // of {app}/topic/, served by the topic router
	stopped  []string       // filters of one's own whose delivery UNSUBSCRIBE stopped
	in       inbound
	out      outbound
	had      MessageID     // deviceRecord.Had, with ended; receive none: from the start
	before   *deviceRecord // receive none: what the session before left, which stays so for the next
	refusals refusals
	moving   atomic.Bool     // it was asked to go on at another node
	dirty    bool            // waits for its cursors to be saved
	attempts map[attempt]int // connections over which a message was left unacknowledged before this one
}

// attempt names a message in a log that was sent and not acknowledged.
type attempt struct {
	log LogID
	n   uint64
}

// watched is a peer that a session watches, and so may send to.
type watched struct {
	conversation ConversationID // of the two
	request      bool           // by the list at open or a request
	sub          *ownSub        // by SUBSCRIBE
}

// App returns the session's app.
func (s *Session) App() AppID { return s.app.id }

// Peer returns the session's peer.
func (s *Session) Peer() PeerID { return s.peer }

// Device returns the session's device.
func (s *Session) Device() DeviceID { return s.device }

// ClientID returns the client id as presented.
func (s *Session) ClientID() string { return s.clientID }

// TopicSubscriptions returns the session's subscriptions under {app}/topic/: those of a resumed session are to be entered again.
func (s *Session) TopicSubscriptions() []Subscription {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.topics)
}

func (s *Session) key() peerKey { return peerKey{s.app.id, s.peer} }

// refusals keeps a client that is refused all the time from filling the log. It belongs to the goroutine that reads the connection.
type refusals struct {
	logged time.Time
	silent int // since then
}

// logRefused logs a refusal with the peer and the code, at most once a second for a session; the next line counts those between.
func (s *Session) logRefused(what string, code Code) {
	r, now := &s.refusals, s.b.now()
	if now.Sub(r.logged) < time.Second {
		r.silent++
		return
	}
	s.b.log.Info("refused", "what", what, "app", s.app.id, "peer", s.peer, "code", int(code), "error", code.Name(), "more", r.silent)
	r.logged, r.silent = now, 0
}

// markDirty notes, under s.mu, that a cursor moved and should be saved soon.
func (s *Session) markDirty() {
	if !s.dirty && !s.ended {
		s.dirty = true
		s.b.dirty.add(s)
	}
}
