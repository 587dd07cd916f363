package hooks

import (
	"strings"
	"sync"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"

	"kith/broker"
)

// What is kept below {app}/topic/ for clients that are away. It is kept in memory and ends with the process.
const (
	maxAbsent      = 10_000   // sessions
	maxAbsentBytes = 64 << 20 // of payloads

	// mostWhileEnding is how many messages may wait until the session has told how many.
	mostWhileEnding = 1024
)

// keeper is a session that a client may resume.
type keeper interface {
	App() broker.AppID
	ClientID() string
	Ended() bool
	Kept() (opened int64, until time.Time, most int, ok bool)
	Resumed() int64
	LeftTopics() []broker.Out
	TakeTopics(left []broker.Out)
}

// absent stands in the index for a session that its client may resume, and collects what is published above QoS 0 [MQTT-4.5.0-1].
type absent struct {
	router *topicRouter
	cl     *mqtt.Client
	ready  chan struct{} // closed when the session has ended and what follows is set
	opened int64         // Unix milliseconds
	until  time.Time
	left   []broker.Out // by the session

	mu      sync.Mutex
	most    int
	waiting []broker.Out // since; the oldest go when there are more than most
	bytes   int
	over    bool
}

func absentKey(s keeper) string { return string(s.App()) + "\x00" + s.ClientID() }

// leaving has what comes for a session collected while it ends. The function that it returns is called when it has, and reports
// whether the session is kept.
func (r *topicRouter) leaving(c *conn) (ended func() (kept bool)) {
	s, ok := c.session.(keeper)
	if !ok || c.cl == nil {
		return func() bool { return false }
	}
	a, key := &absent{router: r, cl: c.cl, ready: make(chan struct{}), most: mostWhileEnding}, absentKey(s)
	r.mu.Lock()
	if len(r.absent) >= maxAbsent || s.Ended() { // ended already: taken over, by one that may have left in its turn
		r.mu.Unlock()
		return func() bool { return false }
	}
	r.absent[key] = a
	was, changed := r.conns[a.cl.ID], false
	r.conns[a.cl.ID] = subscriber{cl: a.cl, absent: a}
	for filter := range a.cl.State.Subscriptions.GetAll() {
		if strings.HasPrefix(filter, "$share/") { // who is there takes what is new
			r.leaveOne(a.cl, filter)
			changed = r.part(&was, filter) || changed
		}
	}
	r.mu.Unlock()
	r.tellShares(changed)
	return func() bool {
		opened, until, most, kept := s.Kept()
		if kept {
			a.opened, a.until, a.left = opened, until, s.LeftTopics()
			a.mu.Lock()
			a.most = most
			a.mu.Unlock()
		} else {
			r.forgetAbsent(key, a)
		}
		close(a.ready)
		return kept
	}
}

// welcome gives a session what was kept for it, and forgets what was kept for one that is over.
func (r *topicRouter) welcome(c *conn) {
	s, ok := c.session.(keeper)
	if !ok {
		return
	}
	key := absentKey(s)
	r.mu.RLock()
	a := r.absent[key]
	r.mu.RUnlock()
	if a == nil {
		return
	}
	<-a.ready
	if !r.forgetAbsent(key, a) {
		return // its session was not kept
	}
	r.leave(a.cl)
	a.cl.Stop(nil)
	if left := a.take(); s.Resumed() == a.opened {
		s.TakeTopics(left)
	}
}

// forgetAbsent reports whether a was still kept.
func (r *topicRouter) forgetAbsent(key string, a *absent) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.absent[key] != a {
		return false
	}
	delete(r.absent, key)
	return true
}

// sweepAbsent forgets the sessions that have expired [MQTT-4.1.0-2].
func (r *topicRouter) sweepAbsent(now time.Time) {
	expired := make(map[string]*absent)
	r.mu.RLock()
	for key, a := range r.absent {
		select {
		case <-a.ready:
			if now.After(a.until) {
				expired[key] = a
			}
		default:
		}
	}
	r.mu.RUnlock()
	for key, a := range expired {
		if r.forgetAbsent(key, a) {
			r.leave(a.cl)
			a.cl.Stop(nil)
			a.take()
		}
	}
}

func (a *absent) add(o broker.Out) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := len(o.Payload)
	if a.over || o.QoS == 0 {
		return
	}
	if a.router.absentBytes.Add(int64(n)) > maxAbsentBytes {
		a.router.absentBytes.Add(-int64(n))
		return
	}
	a.bytes += n
	a.waiting = append(a.waiting, o)
	for len(a.waiting) > a.most {
		n := len(a.waiting[0].Payload)
		a.router.absentBytes.Add(-int64(n))
		a.bytes -= n
		a.waiting = a.waiting[1:]
	}
}

// take ends the collecting and returns all in order.
func (a *absent) take() []broker.Out {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.over = true
	a.router.absentBytes.Add(-int64(a.bytes))
	return append(a.left, a.waiting...)
}
