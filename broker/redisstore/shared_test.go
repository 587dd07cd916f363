package redisstore_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"kith/broker"
	"kith/broker/redisstore"
	"kith/broker/redisstore/redistest"
)

// eachKind runs a test on one shard, on many of one server, and on a cluster. open opens another store of the same.
func eachKind(t *testing.T, test func(t *testing.T, open func() *redisstore.Store)) {
	server := redistest.Start(t, "--appendfsync", "no")
	addrs := redistest.Addrs(redistest.StartCluster(t))
	for name, c := range map[string]struct {
		addrs  []string
		shards int
	}{"one shard": {[]string{server.Addr}, 1}, "many shards": {[]string{server.Addr}, 7}, "cluster": {addrs, 0}} {
		t.Run(name, func(t *testing.T) {
			cfg := redisstore.Config{Addrs: c.addrs, Prefix: newPrefix()}
			test(t, func() *redisstore.Store { return openNew(t, cfg, redisstore.Options{Shards: c.shards}) })
		})
	}
}

// Two nodes commit to the same inboxes, group, events and conversations at once.
func TestTwoStoresShareLogs(t *testing.T) {
	eachKind(t, func(t *testing.T, open func() *redisstore.Store) {
		const callers, each = 4, 64
		stores := []*redisstore.Store{open(), open()}
		l := &ledger{}
		var all sync.WaitGroup
		for i, s := range stores {
			for c := range callers {
				from := broker.PeerID(text("p%d.%d", i, c))
				all.Go(func() {
					var waits []<-chan error
					var batches []*broker.Batch
					for n := range each {
						at := text("%s %04d", from, n)
						b := &broker.Batch{Appends: []broker.Append{
							direct(from, at, "bob"), direct(from, at, "bob", from), direct(from, "to 3, "+at, "eve", "bob", "tom"), toGroup(from, at, "team"),
							{App: "demo", Event: []byte(at), EventPeer: "bob"},
						}}
						if n%3 == 0 {
							b.Appends[1] = withOnce(b.Appends[1], at)
						}
						waits, batches = append(waits, begin(s, b)), append(batches, b)
						if n%8 == 7 { // a window, as a connection has
							for j := range waits {
								if err := within(t, waits[j]); err != nil {
									t.Errorf("commit: %v", err)
								}
								l.add(batches[j])
							}
							waits, batches = nil, nil
						}
					}
				})
			}
		}
		all.Wait()
		if t.Failed() {
			return
		}
		l.check(t, open())
		voids := 0
		for _, log := range []struct {
			kind  broker.LogKind
			owner string
			want  int // messages
		}{{broker.LogInbox, "bob", 3}, {broker.LogInbox, "eve", 1}, {broker.LogInbox, "tom", 1}, {broker.LogConversation, "team", 1}, {broker.LogEvents, "bob", 0}} {
			entries := read(t, stores[0], log.kind, log.owner)
			dense(t, log.owner, entries)
			if log.kind == broker.LogEvents {
				if len(entries) != 2*callers*each {
					t.Errorf("%d events", len(entries))
				}
				continue
			}
			last, count := map[string]string{}, 0
			for _, at := range payloads(t, stores[0], entries) {
				if at == "" {
					voids++
					continue
				}
				count++
				conversation, n := at[:strings.LastIndex(at, " ")], at[strings.LastIndex(at, " "):]
				if n < last[conversation] {
					t.Errorf("log %c of %s: %q behind %q", log.kind, log.owner, at, last[conversation])
				}
				last[conversation] = n
			}
			if want := log.want * 2 * callers * each; count != want {
				t.Errorf("log %c of %s holds %d messages, not %d", log.kind, log.owner, count, want)
			}
		}
		t.Logf("%d references to messages that took another id", voids)
	})
}

// The same message is given to two nodes at once, again and again.
func TestOnceHoldsBetweenStores(t *testing.T) {
	eachKind(t, func(t *testing.T, open func() *redisstore.Store) {
		stores := []*redisstore.Store{open(), open(), open()}
		const keys = 150
		stored := make([]int, 3*keys)
		ids := map[string]broker.MessageID{}
		var mu sync.Mutex
		var all sync.WaitGroup
		for _, s := range stores {
			all.Go(func() {
				for k := range keys {
					one := withOnce(direct("tom", text("d%d", k), "bob", "tom"), text("%d", k))
					two := withOnce(toGroup("tom", text("g%d", k), "team"), text("%d", k))
					three := broker.Append{
						App: "demo", Event: []byte(text("e%d", k)), EventPeer: "tom",
						Once: broker.Key{Space: broker.SpaceReceipt, App: "demo", Owner: text("message%d", k)},
					}
					b := &broker.Batch{Appends: []broker.Append{one, two, three}}
					if err := within(t, begin(s, b)); err != nil {
						t.Errorf("commit: %v", err)
						return
					}
					mu.Lock()
					for i := range b.Appends {
						at := fmt.Sprint(i, k)
						if !b.Appends[i].Duplicate {
							stored[3*k+i]++
						}
						if id, ok := ids[at]; ok && id != b.Appends[i].ID {
							t.Errorf("append %d of key %d has id %s and %s", i, k, id, b.Appends[i].ID)
						}
						ids[at] = b.Appends[i].ID
					}
					mu.Unlock()
				}
			})
		}
		all.Wait()
		for i, n := range stored {
			if n != 1 {
				t.Errorf("append %d of key %d was stored %d times", i%3, i/3, n)
			}
		}
		for _, log := range []struct {
			kind  broker.LogKind
			owner string
		}{{broker.LogInbox, "bob"}, {broker.LogInbox, "tom"}, {broker.LogConversation, "team"}, {broker.LogEvents, "tom"}} {
			entries := read(t, stores[0], log.kind, log.owner)
			dense(t, log.owner, entries)
			seen := map[string]int{}
			if log.kind == broker.LogEvents {
				for _, e := range entries {
					seen[string(e.Value)]++
				}
			} else {
				for _, at := range payloads(t, stores[0], entries) {
					seen[at]++
				}
				delete(seen, "")
			}
			for at, n := range seen {
				if n != 1 {
					t.Errorf("log %c of %s holds %q %d times", log.kind, log.owner, at, n)
				}
			}
			if len(seen) != keys {
				t.Errorf("log %c of %s holds %d messages", log.kind, log.owner, len(seen))
			}
		}
	})
}

// A member is removed on one node while it sends on another.
func TestRequireHoldsBetweenStores(t *testing.T) {
	eachKind(t, func(t *testing.T, open func() *redisstore.Store) {
		one, two := open(), open()
		member := broker.Key{Space: broker.SpaceMember, App: "demo", Owner: "team", Name: "tom"}
		for round := range 20 {
			commit(t, one, &broker.Batch{Writes: []broker.Write{{Key: member, Value: []byte("x")}}})
			removed := begin(one, &broker.Batch{Writes: []broker.Write{{Key: member}}})
			over := false
			for i := 0; ; i++ {
				a := toGroup("tom", text("%d.%d", round, i), "team")
				a.Require = member
				b := &broker.Batch{Appends: []broker.Append{a}}
				commit(t, two, b)
				if !b.Appends[0].Refused && over {
					t.Fatal("accepted after the removal")
				}
				if over {
					break
				}
				select {
				case err := <-removed:
					if err != nil {
						t.Fatal(err)
					}
					over = true
				default:
				}
			}
			if round == 19 {
				dense(t, "team", read(t, one, broker.LogConversation, "team"))
			}
		}
	})
}
