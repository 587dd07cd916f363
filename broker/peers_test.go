package broker_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"kith/broker"
)

// withheldLazy is a store that keeps lazy batches to itself, as if it were busy.
type withheldLazy struct{ broker.Store }

func (s withheldLazy) Commit(b *broker.Batch) {
	if !b.Lazy {
		s.Store.Commit(b)
	}
}

func (w *world) peers(q broker.PeersQuery) string {
	w.t.Helper()
	var ids []string
	for {
		page, err := w.b.Peers(w.t.Context(), "demo", q)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, p := range page {
			if p.LastSeen == 0 {
				w.t.Errorf("%s was never seen", p.Peer)
			}
			mark := ""
			if p.Online {
				mark = "*"
			}
			ids = append(ids, string(p.Peer)+mark)
		}
		if len(page) < q.Limit {
			return strings.Join(ids, " ")
		}
		q.After = page[len(page)-1].Peer
	}
}

func TestAPeerIsListedAsSoonAsItIsOpen(t *testing.T) {
	w := newWorld(t)
	for _, id := range []string{"albert", "bob", "dave", "zoe"} {
		w.open(id).leave(broker.EndDisconnect)
	}
	back := w.open("dave")
	if err := (w.b.SetBan(t.Context(), "demo", broker.Ban{Peer: "x"})); err != nil { // behind it all of before is stored
		t.Fatal(err)
	}
	back.leave(broker.EndLost)

	apps := []broker.AppConfig{w.cfg, broker.DefaultAppConfig("other")}
	b, err := broker.New(broker.Options{Store: withheldLazy{w.store}, Node: "test", Apps: apps, Now: w.now})
	if err != nil {
		t.Fatal(err)
	}
	w.b = b
	for _, id := range []string{"alice", "alma", "bob", "carol", "zz"} {
		w.open(id)
	}
	w.open("stranger", func(r *broker.OpenRequest) { r.App = "other" })
	for _, limit := range []int{1, 2, 3, 100} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			want(t, "all", w.peers(broker.PeersQuery{Limit: limit}), "albert alice* alma* bob* carol* dave zoe zz*")
			want(t, "online", w.peers(broker.PeersQuery{Online: new(true), Limit: limit}), "alice* alma* bob* carol* zz*")
			want(t, "offline", w.peers(broker.PeersQuery{Online: new(false), Limit: limit}), "albert dave zoe")
			want(t, "prefix", w.peers(broker.PeersQuery{Prefix: "al", Limit: limit}), "albert alice* alma*")
			want(t, "prefix online", w.peers(broker.PeersQuery{Prefix: "al", Online: new(true), Limit: limit}), "alice* alma*")
			want(t, "nobody", w.peers(broker.PeersQuery{Prefix: "q", Limit: limit}), "")
		})
	}
}

func TestManyOnlinePeersArePagedInOrder(t *testing.T) {
	w := newWorld(t)
	var ids []string
	for i := range 300 {
		id := fmt.Sprintf("p%03d", i*7%300)
		w.open(id)
		ids = append(ids, fmt.Sprintf("p%03d*", i))
	}
	want(t, "all", w.peers(broker.PeersQuery{Limit: 16}), strings.Join(ids, " "))
	want(t, "online", w.peers(broker.PeersQuery{Online: new(true), Limit: 16}), strings.Join(ids, " "))
}

func TestPeersAwayAreFoundBehindManyOnline(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 1100 {
		w.open(fmt.Sprintf("p%04d", i))
	}
	for _, id := range []string{"a", "p0500x", "z"} {
		w.open(id).leave(broker.EndDisconnect)
	}
	if err := w.b.SetBan(t.Context(), "demo", broker.Ban{Peer: "x"}); err != nil { // behind it all of before is stored
		t.Fatal(err)
	}
	for _, limit := range []int{1, 2, 100} {
		want(t, fmt.Sprint(limit), w.peers(broker.PeersQuery{Online: new(false), Limit: limit}), "a p0500x z")
	}
}

func wantCode(t *testing.T, what string, err error, code broker.Code) {
	t.Helper()
	if got := broker.AsError(err); got == nil || got.Code != code {
		t.Errorf("%s: %v, want %d", what, err, code)
	}
}

func peerIDs(n int) (ids []broker.PeerID) {
	for i := range n {
		ids = append(ids, broker.PeerID(fmt.Sprint("p", i)))
	}
	return ids
}

func TestSendRefusesListsThatAreNotReceivers(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		to   []broker.PeerID
		code broker.Code
	}{
		"nobody":    {nil, broker.Malformed},
		"repeated":  {[]broker.PeerID{"a", "b", "a"}, broker.Malformed},
		"empty":     {[]broker.PeerID{"a", ""}, broker.Malformed},
		"malformed": {[]broker.PeerID{"a/b"}, broker.Malformed},
		"too many":  {peerIDs(21), broker.LimitExceeded},
	} {
		for _, transient := range []bool{false, true} {
			_, err := w.b.Send(t.Context(), "demo", broker.SendRequest{From: "x", To: c.to, Payload: []byte("hi"), Transient: transient})
			wantCode(t, name, err, c.code)
		}
	}
	if _, err := w.b.Send(t.Context(), "demo", broker.SendRequest{From: "x", To: peerIDs(20), Payload: []byte("hi")}); err != nil {
		t.Error(err)
	}
	want(t, "sent", w.history(broker.HistoryQuery{}), []string{"hi"})
}

func TestSignRefusesWhatTheRequestWouldBeRefusedFor(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		r    broker.SignRequest
		code broker.Code
	}{
		"watch too long":      {broker.SignRequest{Peer: "a", Watch: peerIDs(101)}, broker.LimitExceeded},
		"watch repeated":      {broker.SignRequest{Peer: "a", Watch: []broker.PeerID{"b", "b"}}, broker.Malformed},
		"watch empty id":      {broker.SignRequest{Peer: "a", Watch: []broker.PeerID{""}}, broker.Malformed},
		"watch malformed id":  {broker.SignRequest{Peer: "a", Watch: []broker.PeerID{"b:c"}}, broker.Malformed},
		"invite too many":     {broker.SignRequest{Peer: "a", Group: "g", Peers: peerIDs(101), Action: "invite"}, broker.LimitExceeded},
		"kick repeated":       {broker.SignRequest{Peer: "a", Group: "g", Peers: []broker.PeerID{"b", "b"}, Action: "kick"}, broker.Malformed},
		"kick a malformed id": {broker.SignRequest{Peer: "a", Group: "g", Peers: []broker.PeerID{"b c"}, Action: "kick"}, broker.Malformed},
	} {
		_, err := w.b.Sign("demo", c.r)
		wantCode(t, name, err, c.code)
	}
	signed, err := w.b.Sign("demo", broker.SignRequest{Peer: "a", Watch: peerIDs(100)})
	if err != nil {
		t.Fatal(err)
	}
	w.open("a", func(r *broker.OpenRequest) { r.Password = []byte(signed.Password) })
}

func TestReadyTellsThatTheServerIsStopping(t *testing.T) {
	w := newWorld(t)
	if err := w.b.Ready(context.Background()); err != nil {
		t.Fatal(err)
	}
	w.b.CloseAll(broker.CloseShutdown)
	wantCode(t, "stopping", w.b.Ready(context.Background()), broker.Internal)
	want(t, "text", broker.AsError(w.b.Ready(context.Background())).Message, "the server is stopping")
}
