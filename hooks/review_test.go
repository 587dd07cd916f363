package hooks

import (
	"testing"
	"testing/synctest"

	"kith/broker"
)

func TestClientThatDoesNotTakeItsAnswersIsNotReadMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeSession{app: "demo", peer: "bob"}
		for range readyLimit + 1 {
			s.out = append(s.out, broker.Out{Kind: broker.OutAck, Tag: 1, QoS: 1})
		}
		c := &conn{srv: &Server{}, session: s}
		c.out.room.L = &c.out.mu
		read := false
		go func() {
			c.waitRoom()
			read = true
		}()
		synctest.Wait()
		if read {
			t.Fatal("the next packets are read")
		}
		if !c.pull(&scratch{outs: make([]broker.Out, 0, batchSize)}) {
			t.Fatal("nothing to write")
		}
		synctest.Wait()
		if !read {
			t.Fatal("the client took its answers and is not read")
		}
	})
}
