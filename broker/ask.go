package broker

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A question to another node is a note that is asked again until it is answered, so answering twice must be the same as once.

const (
	// maxAnswering bounds the questions that are answered at the same time; more are asked again.
	maxAnswering = 256
	askAgain     = time.Second
	// answerDeadline bounds what an answer may take.
	answerDeadline = 5 * time.Second
)

// askKind says what is asked.
type askKind byte

const (
	askPing      askKind = iota // whether the node is there
	askRelease                  // to end the session of a claim
	askMeet                     // to know of a device that opens at the asking node, where a peer's other device is held by a claim
	askKick                     // to end the sessions of a peer; answers how many
	askSessions                 // the sessions of a peer
	askCount                    // how many of an open group are there
	askEnding                   // how many sessions of a claim are there, or have ended and are not stored yet
	askSkip                     // to pass over what waits in a peer's logs
	askDrain                    // to move the sessions to other nodes; answers how the node stands
	askUndrain                  // to end that; the same
	askOpenGroup                // to take a peer into an open group, or out of it
	askShares                   // the shared subscriptions under {app}/topic/, if they changed since a version
)

// asks are the questions of this node that wait for an answer.
type asks struct {
	next  atomic.Uint64
	mu    sync.Mutex
	open  map[uint64]chan []byte
	slots chan struct{}
}

// question is what askKinds take, each its part.
type question struct {
	App    AppID        `json:"app,omitempty"`
	Peer   PeerID       `json:"peer,omitempty"`
	Device DeviceID     `json:"device,omitempty"`
	Claim  string       `json:"claim,omitempty"`
	Group  GroupID      `json:"group,omitempty"`
	In     bool         `json:"in,omitempty"`
	Skip   []skippedLog `json:"skip,omitempty"`

	Version uint64 `json:"version,omitempty"`
}

type skippedLog struct {
	Log string   `json:"log"`
	To  Position `json:"to"`
}

// reply is what they answer.
type reply struct {
	Error    string        `json:"error,omitempty"`
	Count    int           `json:"count,omitempty"`
	Sessions []SessionInfo `json:"sessions,omitempty"`
	Node     *NodeInfo     `json:"node,omitempty"`   // none: ErrNoRefuge
	Shares   *nodeShares   `json:"shares,omitempty"` // none: unchanged
}

// ask asks a node and waits for its answer, or for ctx.
func (c *cluster) ask(ctx context.Context, node NodeID, kind askKind, q *question) (*reply, error) {
	id := c.asks.next.Add(1)
	answer := make(chan []byte, 1)
	c.asks.mu.Lock()
	c.asks.open[id] = answer
	c.asks.mu.Unlock()
	defer func() {
		c.asks.mu.Lock()
		delete(c.asks.open, id)
		c.asks.mu.Unlock()
	}()
	note := binary.AppendUvarint([]byte{byte(noteAsk)}, id)
	note = append(append(note, byte(kind)), mustJSON(q)...)
	again := time.NewTicker(askAgain)
	defer again.Stop()
	for {
		c.bus.Send(node, note)
		select {
		case body := <-answer:
			r := &reply{}
			if err := json.Unmarshal(body, r); err != nil {
				return nil, err
			}
			if r.Error != "" {
				return nil, errors.New(r.Error)
			}
			return r, nil
		case <-again.C:
			if !c.isLive(node) {
				return nil, errNotLeased
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (c *cluster) heardAnswer(r *fieldReader) {
	id := r.uvarint()
	c.asks.mu.Lock()
	defer c.asks.mu.Unlock()
	if answer := c.asks.open[id]; answer != nil {
		select {
		case answer <- slices.Clone(r.b):
		default: // answered already
		}
	}
}

func (c *cluster) heardAsk(from NodeID, r *fieldReader) {
	id, kind := r.uvarint(), askKind(r.byte())
	q := &question{}
	if r.bad || json.Unmarshal(r.b, q) != nil {
		c.b.log.Warn("a question of another node does not parse", "from", from)
		return
	}
	select {
	case c.asks.slots <- struct{}{}:
	default:
		return
	}
	go func() {
		defer func() { <-c.asks.slots }()
		ctx, cancel := context.WithTimeout(context.Background(), answerDeadline)
		defer cancel()
		body, err := c.answer(ctx, kind, q)
		if err != nil {
			body = &reply{Error: err.Error()}
		}
		note := binary.AppendUvarint([]byte{byte(noteAnswer)}, id)
		c.bus.Send(from, append(note, mustJSON(body)...))
	}()
}

func (c *cluster) answer(ctx context.Context, kind askKind, q *question) (*reply, error) {
	key := peerKey{q.App, q.Peer}
	switch kind {
	case askPing:
	case askRelease:
		return &reply{}, c.released(ctx, key, q.Device, q.Claim)
	case askMeet:
		c.met(ctx, key, q.Device, q.Claim)
	case askKick:
		return &reply{Count: c.b.kickConnected(q.App, q.Peer, q.Device)}, nil
	case askSessions:
		return &reply{Sessions: c.b.sessionInfos(key)}, nil
	case askCount:
		return &reply{Count: c.b.openCount(groupKey{q.App, q.Group})}, nil
	case askEnding:
		n := 0
		for _, s := range c.b.sessionsHere(key) {
			if s.claim == q.Claim {
				n++
			}
		}
		return &reply{Count: n}, nil
	case askSkip:
		for _, s := range c.b.connected(key, nil) {
			for _, l := range q.Skip {
				s.skipTo(logOf(q.App, q.Peer, l.Log), l.To)
			}
		}
	case askShares:
		if c.b.topics == nil {
			break
		}
		if own := c.ownShares(q.Version); own.Version != q.Version {
			return &reply{Shares: &own}, nil
		}
	case askDrain, askUndrain:
		if n, err := c.b.drainHere(kind == askDrain); err == nil {
			return &reply{Node: &n}, nil
		}
	case askOpenGroup:
		c.b.changeOpenGroup(key, groupKey{q.App, q.Group}, q.In)
	default:
		return nil, errors.New("no such question")
	}
	return &reply{}, nil
}

func (c *cluster) ping(ctx context.Context, node NodeID, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := c.ask(ctx, node, askPing, &question{})
	return err
}

func (c *cluster) askRelease(ctx context.Context, key peerKey, h held) error {
	_, err := c.ask(ctx, h.node, askRelease, &question{App: key.app, Peer: key.peer, Device: h.device, Claim: h.claim})
	return err
}

// askAll asks several nodes at once and hands each answer to take; the first error is returned.
func (c *cluster) askAll(ctx context.Context, nodes []NodeID, kind askKind, q *question, take func(*reply)) error {
	ctx, cancel := context.WithTimeout(ctx, answerDeadline)
	defer cancel()
	var all sync.WaitGroup
	var mu sync.Mutex
	var first error
	for _, id := range nodes {
		all.Go(func() {
			r, err := c.ask(ctx, id, kind, q)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				take(r)
			case c.isLive(id) && first == nil:
				first = err
			}
		})
	}
	all.Wait()
	return first
}

// nodesHolding returns the other nodes that a peer is connected to, from the store, and the lines there.
func (c *cluster) nodesHolding(ctx context.Context, key Key) (nodes []NodeID, lines []held, err error) {
	values, err := c.b.store.Get(ctx, []Key{key})
	if err != nil {
		return nil, nil, err
	}
	lines = c.elsewhere(values[0])
	for _, h := range lines {
		if !slices.Contains(nodes, h.node) {
			nodes = append(nodes, h.node)
		}
	}
	return nodes, lines, nil
}
