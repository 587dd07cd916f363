package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"kith/broker"
)

// retryAfter is how long a client waits before it connects again, at most.
const retryAfter = 400 * time.Millisecond

// Device is a client of a peer. It comes back by itself whenever its connection is lost.
type Device struct {
	load   *Load
	app    *App
	peer   broker.PeerID
	name   broker.DeviceID
	groups map[broker.GroupID]bool // that the peer is in
	sends  []*Stream
	turn   int // of sends

	departed atomic.Bool // away until Check

	mu      sync.Mutex
	conn    *conn // nil: not connected
	number  int   // of the connection
	away    bool  // by its own wish
	deaf    bool  // does not read
	mute    bool  // does not acknowledge
	changed chan struct{}
	heard   time.Time // when the server last said something
	view    map[broker.PeerID]string
	missed  int
	tracks  map[int]*track // by the stream's number
	story   []string       // what became of its connections lately, for who looks into a finding
	toldIt  bool           // the story was told

	// Of what it sends.
	flights []*flight
	tag     uint16
}

// clientID is what it presents.
func (d *Device) clientID() string { return string(d.peer) + "/" + string(d.name) }

func (d *Device) String() string { return string(d.app.ID) + ":" + d.clientID() }

// run keeps the device connected, unless it is away, until ctx ends.
func (d *Device) run(ctx context.Context) {
	for ctx.Err() == nil {
		if d.isAway() {
			d.wait(ctx, time.Minute)
			continue
		}
		addr := d.load.addr()
		c, err := dial(ctx, addr, d.clientID(), string(d.app.ID), d.password())
		if err != nil {
			d.note("not in at %s: %v", addr, err)
			d.load.note(err)
			d.wait(ctx, time.Duration(rand.Int64N(int64(retryAfter)))) //nolint:gosec // spreads reconnects
			continue
		}
		d.note("in at %s, session present %v", addr, c.present)
		d.serve(ctx, c)
		d.note("lost")
	}
}

// maxStory bounds how much of a device's story is kept.
const maxStory = 40

// note adds to the device's story.
func (d *Device) note(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.noted(format, args...)
}

// noted is note for who holds d.mu.
func (d *Device) noted(format string, args ...any) {
	if len(d.story) == maxStory {
		d.story = d.story[:copy(d.story, d.story[1:])]
	}
	d.story = append(d.story, time.Now().UTC().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

// storyOnce returns the story, in lines below a finding, the first time. d.mu is held.
func (d *Device) storyOnce() string {
	if d.toldIt {
		return ""
	}
	d.toldIt = true
	return "; before that\n      " + strings.Join(d.story, "\n      ")
}

// note counts a refused CONNECT that is no sign of a store or node that is away.
func (l *Load) note(err error) {
	if no, ok := errors.AsType[*refusal](err); ok {
		l.counts.refusedOpen(no)
	}
}

// password is signed anew each time.
func (d *Device) password() string {
	watch := d.app.watched[d.peer]
	p := d.app.sign(d.peer, watch)
	text, err := json.Marshal(struct {
		proof
		Watch []broker.PeerID `json:"watch"`
	}{p, watch})
	if err != nil {
		panic("load: " + err.Error()) // a type of this package
	}
	return string(text)
}

// wait waits for most, or for a change of what the device is told to do.
func (d *Device) wait(ctx context.Context, most time.Duration) {
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case <-t.C:
	case <-d.changed:
	case <-ctx.Done():
	}
}

func (d *Device) isAway() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.away
}

// serve uses a connection until it ends.
func (d *Device) serve(ctx context.Context, c *conn) {
	defer func() { _ = c.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	if !d.begin(c) {
		return
	}
	ended := make(chan struct{})
	var pinging sync.WaitGroup
	pinging.Go(func() { d.ping(c, ended) })
	for {
		d.listen(ctx)
		p, err := packets.ReadPacket(c.in)
		if err != nil || d.take(c, p) != nil {
			break
		}
	}
	d.lost()
	close(ended)
	_ = c.Close()
	pinging.Wait()
}

// begin sends again what was not answered, in order, before anything new.
func (d *Device) begin(c *conn) bool {
	d.mu.Lock()
	d.number++
	again := d.resend()
	d.mu.Unlock()
	if c.write(again...) != nil {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.away {
		return false
	}
	d.conn, d.heard = c, time.Now()
	return true
}

func (d *Device) lost() {
	d.mu.Lock()
	d.conn = nil
	d.mu.Unlock()
}

// listen returns when the device reads again.
func (d *Device) listen(ctx context.Context) {
	for ctx.Err() == nil {
		d.mu.Lock()
		deaf := d.deaf
		d.heard = time.Now()
		d.mu.Unlock()
		if !deaf {
			return
		}
		d.wait(ctx, time.Second)
	}
}

// ping keeps the connection alive, and gives it up when the server is silent.
func (d *Device) ping(c *conn, ended chan struct{}) {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return
		case <-tick.C:
		}
		d.mu.Lock()
		silent := !d.deaf && time.Since(d.heard) > silence
		d.mu.Unlock()
		if silent || c.write(packets.NewControlPacket(packets.PINGREQ)) != nil {
			_ = c.Close()
			return
		}
	}
}

// Leave lets the device go away, with a word or without.
func (d *Device) Leave(politely bool) {
	d.mu.Lock()
	d.away = true
	c := d.conn
	d.mu.Unlock()
	if c != nil {
		if politely {
			_ = c.write(packets.NewControlPacket(packets.DISCONNECT)) // else it is lost all the same
		}
		_ = c.Close()
	}
}

// Return lets it come back.
func (d *Device) Return() {
	d.set(func() { d.away = false })
}

// Drop ends the connection without a word; the device comes back by itself.
func (d *Device) Drop() {
	d.mu.Lock()
	c := d.conn
	d.mu.Unlock()
	if c != nil {
		_ = c.Close()
	}
}

// Deaf lets the device stop reading, or read again.
func (d *Device) Deaf(on bool) { d.set(func() { d.deaf = on }) }

// Mute lets it stop acknowledging. Speaking again starts with a new connection, where what it kept back comes once more.
func (d *Device) Mute(on bool) {
	d.set(func() { d.mute = on })
	if !on {
		d.Drop()
	}
}

func (d *Device) set(change func()) {
	d.mu.Lock()
	change()
	d.mu.Unlock()
	select {
	case d.changed <- struct{}{}:
	default:
	}
}
