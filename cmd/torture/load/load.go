package load

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"kith/broker"
)

// Options are how large a load is. It is laid out the same way for the same seed.
type Options struct {
	Apps    []broker.AppID
	Key     string // the apps' master key
	Peers   int    // of each app, at least 4
	Groups  int    // of each app
	Members int    // of each group
	Rate    float64
	Size    int // bytes of a message
	Seed    uint64
	Clients func() []string // host:port of the nodes, as clients know them
	REST    func() string   // base URL of a node that answers
}

// Each peer sends to that many others, and watches them and as many more.
const (
	sendsTo    = 3
	watchesToo = 3
	twoDevices = 3 // each so-manieth peer has a second device
)

// App is a tenant of the load.
type App struct {
	ID      broker.AppID
	key     string
	peers   []broker.PeerID
	groups  map[broker.GroupID][]broker.PeerID
	watched map[broker.PeerID][]broker.PeerID
	devices []*Device
}

func (a *App) watches(peer, other broker.PeerID) bool { return slices.Contains(a.watched[peer], other) }

// Load is the whole of it.
type Load struct {
	o       Options
	apps    []*App
	streams []*Stream
	counts  counts
	sending atomic.Bool
	running sync.WaitGroup
	stop    context.CancelFunc
}

// New lays a load out. Peers of all apps have the same ids, so that what crosses from one to another shows.
func New(o Options) *Load {
	l := &Load{o: o}
	r := rand.New(rand.NewPCG(o.Seed, 1)) //nolint:gosec // repeatable, no secret
	for _, id := range o.Apps {
		l.apps = append(l.apps, l.newApp(id, r))
	}
	return l
}

func (l *Load) newApp(id broker.AppID, r *rand.Rand) *App {
	a := &App{ID: id, key: l.o.Key, groups: map[broker.GroupID][]broker.PeerID{}, watched: map[broker.PeerID][]broker.PeerID{}}
	for i := range l.o.Peers {
		a.peers = append(a.peers, broker.PeerID(fmt.Sprintf("peer%d", i)))
	}
	for i := range l.o.Groups {
		members := pick(r, a.peers, l.o.Members, "")
		a.groups[broker.GroupID(fmt.Sprintf("group%d", i))] = members
	}
	receivers := map[broker.PeerID][]broker.PeerID{}
	for i, peer := range a.peers {
		others := pick(r, a.peers, sendsTo+watchesToo, peer)
		a.watched[peer], receivers[peer] = others, others[:min(sendsTo, len(others))]
		a.devices = append(a.devices, l.newDevice(a, peer, "first"))
		if i%twoDevices == 0 {
			a.devices = append(a.devices, l.newDevice(a, peer, "second"))
		}
	}
	for _, d := range a.devices {
		for _, to := range receivers[d.peer] {
			l.addStream(&Stream{app: a, from: d, to: to, topic: fmt.Sprintf("%s/peer/%s/%s", a.ID, to, d.peer)})
		}
		for i := range l.o.Groups { // in an order that a map has not
			if group := broker.GroupID(fmt.Sprintf("group%d", i)); d.groups[group] {
				l.addStream(&Stream{app: a, from: d, group: group, topic: fmt.Sprintf("%s/group/%s/%s", a.ID, group, d.peer)})
			}
		}
	}
	return a
}

// pick chooses n of the peers but one.
func pick(r *rand.Rand, peers []broker.PeerID, n int, but broker.PeerID) (chosen []broker.PeerID) {
	for _, i := range r.Perm(len(peers)) {
		if len(chosen) < n && peers[i] != but {
			chosen = append(chosen, peers[i])
		}
	}
	return chosen
}

func (l *Load) newDevice(a *App, peer broker.PeerID, name broker.DeviceID) *Device {
	d := &Device{
		load: l, app: a, peer: peer, name: name, groups: map[broker.GroupID]bool{}, changed: make(chan struct{}, 1),
		view: map[broker.PeerID]string{}, tracks: map[int]*track{},
	}
	for group, members := range a.groups {
		d.groups[group] = slices.Contains(members, peer)
	}
	return d
}

func (l *Load) addStream(s *Stream) {
	s.number = len(l.streams)
	for _, d := range s.app.devices {
		if s.isFor(d) {
			s.due = append(s.due, d)
		}
	}
	s.from.sends = append(s.from.sends, s)
	l.streams = append(l.streams, s)
}

// Devices are all clients of the load.
func (l *Load) Devices() (all []*Device) {
	for _, a := range l.apps {
		all = append(all, a.devices...)
	}
	return all
}

// Start makes the groups and connects all devices; it returns when all are connected, so that the server knows them.
func (l *Load) Start(ctx context.Context) error {
	for _, a := range l.apps {
		if err := l.makeGroups(ctx, a); err != nil {
			return err
		}
	}
	devices := l.Devices()
	ctx, l.stop = context.WithCancel(ctx)
	for _, d := range devices {
		l.running.Go(func() { d.run(ctx) })
		l.running.Go(func() { d.sendOn(ctx, time.Duration(float64(len(devices))/l.o.Rate*float64(time.Second))) })
	}
	err := until(ctx, time.Minute, "not all clients can connect", func() bool {
		return !slices.ContainsFunc(devices, func(d *Device) bool { return !d.connected() })
	})
	l.running.Go(func() { l.churn(ctx) })
	return err
}

// Send starts and stops the sending.
func (l *Load) Send(on bool) { l.sending.Store(on) }

// Stop ends all clients.
func (l *Load) Stop() {
	l.stop()
	l.running.Wait()
}

func (d *Device) connected() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.conn != nil
}

// sendOn sends a message every so often.
func (d *Device) sendOn(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if d.load.sending.Load() {
				d.send()
			}
		case <-ctx.Done():
			return
		}
	}
}

// addr is where a client connects next: to any node.
func (l *Load) addr() string {
	addrs := l.o.Clients()
	return addrs[rand.IntN(len(addrs))] //nolint:gosec // spreads clients
}

// until waits for what no event tells.
func until(ctx context.Context, most time.Duration, failed string, done func() bool) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	end := time.After(most)
	for !done() {
		select {
		case <-tick.C:
		case <-end:
			return fmt.Errorf("%s within %v", failed, most)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
