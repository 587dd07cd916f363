package redisstore_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"kith/broker"
	"kith/broker/redisstore"
	"kith/broker/redisstore/redistest"
)

// Every key is of those that the package comment lists. When a system has been idle, only what lives until it is deleted is left, at
// the size that its bounds allow.
func TestIdleSystemKeepsOnlyWhatIsKept(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendfsync", "no")
	const keep, sent = 10, 200
	s := openNew(t, redisstore.Config{Addrs: []string{server.Addr}}, redisstore.Options{InboxKeep: keep})
	soon := time.Now().Add(300 * time.Millisecond).UnixMilli()
	for i := range sent {
		a := withOnce(direct("tom", "x", "bob"), text("%d", i))
		a.OnceExpires = soon
		commit(t, s, &broker.Batch{
			Appends: []broker.Append{a, toGroup("tom", "x", "team"), {App: "demo", EventPeer: "bob", Event: []byte("e"), Keep: keep}},
			Writes:  []broker.Write{{Key: broker.Key{Space: broker.SpaceNonce, App: "demo", Owner: text("n%d", i)}, Value: []byte("x"), Expires: soon}},
		})
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	client := server.Client()
	defer client.Close()
	if ttl := client.TTL(t.Context(), "kith{0}:ping").Val(); ttl <= 0 || ttl > time.Minute {
		t.Errorf("the ping's key lives %v", ttl)
	}
	client.Del(t.Context(), "kith{0}:ping") // it has a minute
	var keys []string
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if _, err := s.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		keys = client.Keys(t.Context(), "*").Val()
		if !slices.ContainsFunc(keys, func(k string) bool { return strings.Contains(k, ":r:") || strings.Contains(k, ":l:") }) {
			break
		}
	}
	slices.Sort(keys)
	conversation := string(broker.DirectConversation("tom", "bob"))
	want := map[string]int64{ // how many entries each may have
		"kith{0}:c:demo:" + conversation: sent, "kith{0}:c:demo:team": sent, "kith{0}:s:demo:tom": 2 * sent,
		"kith{0}:i:demo:bob": 2*keep + 8, "kith{0}:e:demo:bob": 2*keep + 8, "kith{0}:m:demo": 2 * sent, "kith{0}:clock": 1, "kith:store": 3,
	}
	for _, key := range keys {
		most, ok := want[key]
		if !ok {
			t.Errorf("%s is left", key)
			continue
		}
		delete(want, key)
		var n int64
		switch kind := client.Type(t.Context(), key).Val(); kind {
		case "list":
			n = client.LLen(t.Context(), key).Val()
		case "stream":
			n = client.XLen(t.Context(), key).Val()
		case "hash":
			n = client.HLen(t.Context(), key).Val()
		case "string":
			n = 1
		default:
			t.Errorf("%s is a %s", key, kind)
		}
		if n > most {
			t.Errorf("%s has %d entries, not at most %d", key, n, most)
		}
	}
	if len(want) > 0 {
		t.Errorf("not there: %v", want)
	}
}
