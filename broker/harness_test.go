package broker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"kith/broker"
	"kith/broker/pebblestore"
)

// world is a broker on a store of its own, with a clock that tests may turn.
type world struct {
	t      testing.TB
	b      *broker.Broker
	store  *pebblestore.Store
	fs     vfs.FS
	cancel context.CancelFunc
	done   chan struct{}
	cfg    broker.AppConfig
	hub    *hub  // of a cluster's node
	port   *port // its end of the hub
	gate   *gate // its way to the store

	mu    sync.Mutex
	shift time.Duration
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.shift)
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shift += d
}

func newWorld(t testing.TB, change ...func(*broker.AppConfig)) *world {
	t.Helper()
	w := &world{t: t, fs: vfs.NewMem(), cfg: broker.DefaultAppConfig("demo")}
	w.cfg.MasterKey = "your-master-key"
	w.cfg.Rate = broker.RateConfig{}
	for _, f := range change {
		f(&w.cfg)
	}
	w.start()
	t.Cleanup(w.stop)
	return w
}

func (w *world) start() {
	w.t.Helper()
	store, err := pebblestore.Open(pebblestore.Config{Path: "store", Sync: true}, pebblestore.Options{FS: w.fs, Now: w.now})
	if err != nil {
		w.t.Fatal(err)
	}
	w.store = store
	o := broker.Options{Store: store, Node: "test", Apps: []broker.AppConfig{w.cfg}, Now: w.now}
	if clustered {
		o.Bus = newHub().bus()
	}
	w.run(o)
}

// run builds the broker and runs it until w.cancel; w.done is closed when it has ended.
func (w *world) run(o broker.Options) {
	w.t.Helper()
	b, err := broker.New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	w.b, w.cancel, w.done = b, cancel, done
	go func() {
		defer close(done)
		if err := b.Run(ctx); err != nil {
			w.t.Error(err)
		}
	}()
	awaitReady(w.t, b)
}

// online returns those of peers that are online.
func (w *world) online(peers ...broker.PeerID) []broker.PeerID {
	w.t.Helper()
	online, err := w.b.Online(w.t.Context(), "demo", peers)
	if err != nil {
		w.t.Fatal(err)
	}
	return online
}

func (w *world) stop() {
	w.cancel()
	<-w.done
	if err := w.store.Close(); err != nil {
		w.t.Error(err)
	}
}

// client is a connection of a session as a test sees it: its link pumps by itself, into got.
type client struct {
	t    testing.TB
	w    *world
	s    *broker.Session
	wake chan struct{}
	quit chan struct{}
	once sync.Once

	present bool
	hold    bool // acknowledges nothing
	tag     uint16

	mu     sync.Mutex
	got    []broker.Out
	closed []broker.CloseReason
	more   *sync.Cond
}

func (c *client) Wake() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *client) Close(why broker.CloseReason) {
	c.mu.Lock()
	c.closed = append(c.closed, why)
	c.more.Broadcast()
	c.mu.Unlock()
}

type how func(*broker.OpenRequest)

func password(v any) how {
	return func(r *broker.OpenRequest) {
		r.Password, _ = json.Marshal(v)
	}
}

func watching(peers ...string) how { return password(map[string]any{"watch": peers}) }

func (w *world) tryOpen(id string, hows ...how) (*client, error) {
	w.t.Helper()
	c := &client{t: w.t, w: w, wake: make(chan struct{}, 1), quit: make(chan struct{})}
	c.more = sync.NewCond(&c.mu)
	r := &broker.OpenRequest{App: "demo", ClientID: id, Version: 5, CleanStart: true, Expiry: time.Hour, Remote: "127.0.0.1", Transport: "tcp"}
	for _, h := range hows {
		h(r)
	}
	var err error
	c.s, c.present, err = w.b.Open(context.Background(), r, c)
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (w *world) open(id string, hows ...how) *client {
	w.t.Helper()
	c, err := w.tryOpen(id, hows...)
	if err != nil {
		w.t.Fatalf("open %s: %v", id, err)
	}
	c.run()
	return c
}

// openSilent opens a session whose client acknowledges nothing.
func (w *world) openSilent(id string, hows ...how) *client {
	w.t.Helper()
	c, err := w.tryOpen(id, hows...)
	if err != nil {
		w.t.Fatalf("open %s: %v", id, err)
	}
	c.hold = true
	c.run()
	return c
}

func (c *client) run() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]broker.Out, 0, 32)
		for {
			for {
				out := c.s.Next(buf[:0])
				if len(out) == 0 {
					break
				}
				c.s.Written()
				for i := range out {
					if o := &out[i]; o.Tag != 0 && !c.hold && (o.Kind == broker.OutMessage || o.Kind == broker.OutPublish) {
						c.s.Acked(o.Tag)
					}
				}
				c.mu.Lock()
				c.got = append(c.got, out...) // what a test sees has been acknowledged
				c.more.Broadcast()
				c.mu.Unlock()
			}
			select {
			case <-c.wake:
			case <-c.quit:
				return
			}
		}
	}()
	c.Wake()
	c.t.Cleanup(func() { c.leave(broker.EndLost); <-done })
}

func (c *client) leave(how broker.EndReason) {
	c.once.Do(func() {
		close(c.quit)
		c.s.End(how, nil)
	})
}

// await returns the first n outs that match, waiting for them.
func (c *client) await(n int, match func(*broker.Out) bool) []broker.Out {
	c.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	timer := time.AfterFunc(10*time.Second, func() { c.more.Broadcast() })
	defer timer.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		var found []broker.Out
		for i := range c.got {
			if match(&c.got[i]) {
				found = append(found, c.got[i])
			}
		}
		if len(found) >= n {
			return found
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("%s: %d of %d came; all: %s", c.s.ClientID(), len(found), n, describe(c.got))
		}
		c.more.Wait()
	}
}

func (c *client) awaitClosed() broker.CloseReason {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.closed) == 0 {
		c.more.Wait()
	}
	return c.closed[0]
}

func describe(outs []broker.Out) string {
	var b strings.Builder
	for i := range outs {
		o := &outs[i]
		fmt.Fprintf(&b, "\n kind %d tag %d qos %d dup %t topic %q payload %q err %v", o.Kind, o.Tag, o.QoS, o.Dup, o.Topic, o.Payload, o.Err)
		if o.Message != nil {
			fmt.Fprintf(&b, " message %q from %s", o.Message.Payload, o.Message.From)
		}
	}
	return b.String()
}

func isMessage(o *broker.Out) bool { return o.Kind == broker.OutMessage }

func isAck(o *broker.Out) bool { return o.Kind == broker.OutAck }

func isTopic(t string) func(*broker.Out) bool {
	return func(o *broker.Out) bool { return o.Kind == broker.OutPublish && o.Topic == t }
}

// messages returns the payloads of the first n messages.
func (c *client) messages(n int) []string {
	c.t.Helper()
	var texts []string
	for _, o := range c.await(n, isMessage) {
		texts = append(texts, string(o.Message.Payload))
	}
	return texts
}

// send publishes at QoS 1 without waiting and returns the packet identifier.
func (c *client) send(topic, text string, change ...func(*broker.Publish)) uint16 {
	c.tag++
	p := &broker.Publish{Topic: []byte(topic), Payload: []byte(text), Tag: c.tag, QoS: 1}
	for _, f := range change {
		f(p)
	}
	c.s.Publish(p)
	c.s.Submit()
	c.Wake()
	return p.Tag
}

// sent publishes at QoS 1 and waits for the acknowledgement.
func (c *client) sent(topic, text string, change ...func(*broker.Publish)) broker.Out {
	c.t.Helper()
	tag := c.send(topic, text, change...)
	return c.await(1, func(o *broker.Out) bool { return o.Kind == broker.OutAck && o.Tag == tag })[0]
}

// request publishes a request and returns its reply.
func (c *client) request(verb string, body map[string]any) map[string]any {
	c.t.Helper()
	id := fmt.Sprintf("%s-%d", verb, c.tag)
	body["id"] = id
	raw, err := json.Marshal(body)
	if err != nil {
		c.t.Fatal(err)
	}
	c.send("demo/request/"+string(c.s.Peer())+"/"+verb, string(raw))
	var reply map[string]any
	c.await(1, func(o *broker.Out) bool {
		if o.Kind != broker.OutPublish || !strings.HasSuffix(o.Topic, "/reply") {
			return false
		}
		var r map[string]any
		if json.Unmarshal(o.Payload, &r) != nil || r["id"] != id {
			return false
		}
		reply = r
		return true
	})
	return reply
}

func numbered(from, to int) []string {
	var list []string
	for i := from; i <= to; i++ {
		list = append(list, fmt.Sprint(i))
	}
	return list
}
