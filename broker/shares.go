package broker

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A message goes to one member of a shared subscription in the whole cluster [MQTT-4.8.2-4]. Every node knows how many members each has
// at which node: it asks the others, when they say that theirs changed and every compareEvery. So the node where a message is published
// chooses, by the number of members, the node that has it, and that one chooses the member. Of a shared subscription that it has not heard of
// yet the nodes with members choose: the first of those in order that know of each other.

// maxShares is how many shared subscriptions a node tells the others of; those past it are each node's own.
const maxShares = 4096

// chosenShare is the node whose member of a shared subscription has a message.
type chosenShare struct {
	filter string
	node   NodeID
}

// shares is what this node knows of the shared subscriptions of all.
type shares struct {
	wake chan struct{} // something may have changed
	mu   sync.Mutex
	of   map[NodeID]nodeShares
	all  atomic.Pointer[map[AppID][]share]
}

// nodeShares are those of one node, as it told last.
type nodeShares struct {
	Version uint64         `json:"version"`
	Members map[string]int `json:"members"`
}

// share is a shared subscription, with its members by node.
type share struct {
	filter string // whole: $share/{name}/{topics}
	topics string
	nodes  []shareNode // in the order of their ids
}

type shareNode struct {
	id      NodeID
	members int
}

// SharesChanged tells that the router's shared subscriptions did.
func (b *Broker) SharesChanged() {
	if b.cluster == nil {
		return
	}
	notify(b.cluster.shares.wake)
	for _, id := range b.cluster.others() {
		b.cluster.bus.Send(id, []byte{byte(noteShares)})
	}
}

// sharesLoop keeps what is known of shared subscriptions up to date.
func (c *cluster) sharesLoop(ctx context.Context) {
	tick := time.NewTicker(compareEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-c.shares.wake:
		case <-ctx.Done():
			return
		}
		if c.b.topics != nil {
			c.learnShares(ctx)
		}
	}
}

// learnShares asks the other nodes for what they have, as far as it changed.
func (c *cluster) learnShares(ctx context.Context) {
	s := &c.shares
	now := map[NodeID]nodeShares{c.id(): c.ownShares(0)}
	var all sync.WaitGroup
	var mu sync.Mutex
	for _, id := range c.others() {
		s.mu.Lock()
		known := s.of[id]
		s.mu.Unlock()
		all.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, answerDeadline)
			defer cancel()
			r, err := c.ask(ctx, id, askShares, &question{Version: known.Version})
			if err == nil && r.Shares != nil {
				known = *r.Shares
			}
			mu.Lock()
			now[id] = known
			mu.Unlock()
		})
	}
	all.Wait()
	s.mu.Lock()
	s.of = now
	s.mu.Unlock()
	s.all.Store(indexShares(now))
}

// ownShares returns those of this node; none of it when nothing changed since version.
func (c *cluster) ownShares(since uint64) nodeShares {
	version, members := c.b.topics.Shares()
	if version == since {
		return nodeShares{Version: version}
	}
	if len(members) > maxShares {
		c.b.log.Warn("too many shared subscriptions to tell the other nodes of; those past the bound are each node's own", "shares", len(members), "bound", maxShares)
		for filter := range members {
			if len(members) == maxShares {
				break
			}
			delete(members, filter)
		}
	}
	return nodeShares{version, members}
}

func indexShares(of map[NodeID]nodeShares) *map[AppID][]share {
	byFilter := map[string]*share{}
	for id, n := range of {
		for filter, members := range n.Members {
			if byFilter[filter] == nil {
				byFilter[filter] = &share{filter: filter, topics: shareTopics(filter)}
			}
			byFilter[filter].nodes = append(byFilter[filter].nodes, shareNode{id, members})
		}
	}
	all := map[AppID][]share{}
	for _, sh := range byFilter {
		slices.SortFunc(sh.nodes, func(x, y shareNode) int { return cmpString(x.id, y.id) })
		app, _, _ := strings.Cut(sh.topics, "/")
		all[AppID(app)] = append(all[AppID(app)], *sh)
	}
	return &all
}

// shareTopics returns the topics of $share/{name}/{topics}.
func shareTopics(filter string) string {
	_, rest, _ := strings.Cut(filter, "/")
	_, topics, _ := strings.Cut(rest, "/")
	return topics
}

// choose names, for each shared subscription that matches, the node whose member has the message.
func (s *shares) choose(c *cluster, app AppID, topic string) (chosen []chosenShare) {
	all := s.all.Load()
	if all == nil {
		return nil
	}
	for _, sh := range (*all)[app] {
		if !matchFilter(sh.topics, topic) {
			continue
		}
		total := 0
		for _, n := range sh.nodes {
			if c.isLive(n.id) {
				total += n.members
			}
		}
		if total == 0 {
			continue
		}
		pick := rand.IntN(total) //nolint:gosec // a share, not a secret
		for _, n := range sh.nodes {
			if !c.isLive(n.id) {
				continue
			}
			if pick -= n.members; pick < 0 {
				chosen = append(chosen, chosenShare{sh.filter, n.id})
				break
			}
		}
	}
	return chosen
}

// takes says of which shared subscriptions a member here has a message.
func (c *cluster) takes(app AppID, chosen []chosenShare) func(filter string) bool {
	return func(filter string) bool {
		for i := range chosen {
			if chosen[i].filter == filter {
				return chosen[i].node == c.id()
			}
		}
		return c.isFirstOf(app, filter)
	}
}

// isFirstOf reports whether no node before this one in order is known to have members of a shared subscription.
func (c *cluster) isFirstOf(app AppID, filter string) bool {
	all := c.shares.all.Load()
	if all == nil {
		return true
	}
	for _, sh := range (*all)[app] {
		if sh.filter == filter {
			return !slices.ContainsFunc(sh.nodes, func(n shareNode) bool { return n.id < c.id() && c.isLive(n.id) })
		}
	}
	return true
}
