package broker_test

import (
	"testing"
	"time"

	"kith/broker"
)

func TestKickedPeerIsOfflineAtOnceWhateverTheGrace(t *testing.T) {
	w := newWorld(t, func(c *broker.AppConfig) { c.Presence.Grace = time.Hour })
	bob := w.open("bob")
	if n, err := w.b.Kick(t.Context(), "demo", "bob", ""); n != 1 || err != nil {
		t.Fatalf("kicked %d, %v", n, err)
	}
	want(t, "told", bob.awaitClosed(), broker.CloseKicked)
	bob.leave(broker.EndServer)
	want(t, "online", w.online("bob"), []broker.PeerID{})
}

func TestDeliveryThatTheReceiverRefusesGivesNoReceipt(t *testing.T) {
	w := newWorld(t)
	bob := w.openSilent("bob")
	alice := w.open("alice", watching("bob"))
	ack := alice.sent("demo/peer/bob/alice", "hi", func(p *broker.Publish) { p.Receipt = true })
	bob.s.Rejected(bob.await(1, isMessage)[0].Tag)
	item, _, err := w.b.Message(t.Context(), "demo", ack.ID)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "receipt_at", item.ReceiptAt, int64(0))
}

func TestAcknowledgementThatComesAfterTheKickFromItsGroupHarmsNobody(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.open("alice", watching("bob")), w.openSilent("bob")
	g := alice.create(map[string]any{})
	alice.request("invite", map[string]any{"group": g, "peers": []string{"bob"}})
	alice.sent("demo/group/"+g+"/alice", "hi")
	of := bob.await(1, isMessage)[0]
	alice.request("kick", map[string]any{"group": g, "peers": []string{"bob"}})
	bob.await(1, isEvent("demo/event/bob/group", "left"))
	bob.s.Acked(of.Tag)
	alice.sent("demo/peer/bob/alice", "still there")
	want(t, "bob", bob.messages(2), []string{"hi", "still there"})
}
