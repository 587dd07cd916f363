package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"kith/broker"
	"kith/broker/pebblestore"
	"kith/broker/redisstore"
	"kith/broker/redisstore/redistest"
)

func openPebble(t testing.TB, path string) *pebblestore.Store {
	t.Helper()
	s, err := pebblestore.Open(pebblestore.Config{Path: path}, pebblestore.Options{MemTableBytes: 1 << 20, SweepEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func logOf(kind broker.LogKind, owner string) broker.LogID {
	return broker.LogID{Kind: kind, App: "demo", Owner: owner}
}

// fillForMove makes something of all that a store can hold.
func fillForMove(t testing.TB, s broker.Store) {
	t.Helper()
	now := time.Now()
	for i := range 500 {
		text := fmt.Sprint(i, strings.Repeat("x", i%300))
		b := &broker.Batch{Appends: []broker.Append{
			withOnce(direct("tom", text, "bob"), text), direct("bob", text, "tom", "eve"), toGroup("tom", text, "team"),
			{App: "demo", EventPeer: "bob", Event: []byte(text), Keep: 300},
			{App: "demo", Past: true, Message: &broker.Message{
				ID: broker.PastID(now.Add(-time.Duration(i)*time.Minute).UnixMilli(), text), App: "demo", From: "old", To: []broker.PeerID{"bob"}, QoS: 1,
				Payload: []byte(text), Conversation: broker.DirectConversation("old", "bob"), Original: text,
			}},
		}}
		if i%50 == 0 {
			member := toGroup("tom", "", "team")
			member.Message.Kind = broker.KindMembership
			b.Appends = append(b.Appends, member)
		}
		b.Writes = []broker.Write{
			{Key: broker.Key{Space: broker.SpaceBan, App: "demo", Owner: text}, Value: []byte(text)},
			{Key: broker.Key{Space: broker.SpaceNonce, App: "demo", Owner: text}, Value: []byte{0, 1}, Expires: now.Add(time.Hour).UnixMilli()},
			{Key: broker.Key{Space: broker.SpaceReceipt, App: "demo", Owner: text}, Value: []byte("123456789012")},
			{Key: broker.Key{Space: broker.SpaceNode, Owner: text}, Value: []byte("a node")},
		}
		commit(t, s, b)
		if i == 250 {
			commit(t, s, &broker.Batch{Deletes: []broker.Delete{
				{App: "demo", Message: b.Appends[0].ID}, {App: "demo", Log: logOf(broker.LogInbox, "bob")}, {App: "demo", Log: logOf(broker.LogInbox, "tom"), Before: b.Appends[1].ID},
			}})
		}
	}
	commit(t, s, &broker.Batch{Deletes: []broker.Delete{{App: "demo", Log: logOf(broker.LogInbox, "eve")}}}) // its numbers go on
}

// moveInPieces ends a move again and again, until it comes through.
func moveInPieces(t testing.TB, from, to broker.Movable) {
	t.Helper()
	for stop := 2000; ; stop += 2000 {
		ctx, cancel := context.WithCancel(t.Context())
		told := broker.Moved{}
		moved, err := broker.Move(ctx, from, to, func(m broker.Moved) {
			if told = m; m.Entries+m.Checked > stop {
				cancel()
			}
		})
		cancel()
		if err == nil {
			if moved.Checked < 4_000 || told != moved {
				t.Errorf("moved %+v, told %+v", moved, told)
			}
			return
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
}

func TestAStoreMovesToRedisAndBack(t *testing.T) {
	server := redistest.Start(t)
	for _, shards := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d shards", shards), func(t *testing.T) {
			first, second := openPebble(t, t.TempDir()), t.TempDir()
			fillForMove(t, first)
			there := openNew(t, redisstore.Config{Addrs: []string{server.Addr}, Prefix: newPrefix()}, redisstore.Options{Shards: shards})
			moveInPieces(t, first, there)
			back := openPebble(t, t.TempDir())
			moveInPieces(t, there, back)
			last := openPebble(t, second)
			moveInPieces(t, back, last)
			if got, err := back.Get(t.Context(), []broker.Key{{Space: broker.SpaceNode, Owner: "1x"}}); err != nil || got[0] != nil {
				t.Errorf("a node's lease moved: %v, %v", got, err)
			}

			// Numbers and ids go on, in all of them.
			group, err := first.Last(t.Context(), []broker.LogID{logOf(broker.LogConversation, "team")})
			if err != nil {
				t.Fatal(err)
			}
			for name, s := range map[string]broker.Store{"redis": there, "pebble": last} {
				b := &broker.Batch{Appends: []broker.Append{toGroup("tom", "next", "team"), direct("bob", "next", "eve"), withOnce(direct("tom", "again", "bob"), "1x")}}
				commit(t, s, b)
				if a := b.Appends; a[0].N != group[0].N+1 || a[0].ID.Compare(group[0].ID) <= 0 || a[1].InboxN[0] != 501 || !a[2].Duplicate {
					t.Errorf("%s goes on with %d, %d, %v", name, a[0].N, a[1].InboxN, a[2].Duplicate)
				}
			}
			if _, err := broker.Move(t.Context(), first, there, func(broker.Moved) {}); !errors.Is(err, broker.ErrMovedOtherwise) {
				t.Errorf("into a store that has something of its own: %v", err)
			}
		})
	}
}
