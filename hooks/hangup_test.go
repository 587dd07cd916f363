package hooks

import (
	"net"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"kith/broker"
)

// makeBusy lets a client send until its connection is one whose hang-up is told.
func makeBusy(t *testing.T, c *rawClient) {
	t.Helper()
	for range watchAfter + 1 {
		c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
		c.expect(packets.Pingresp)
	}
}

// TestHangUpBehindDataIsSeen: what a client sent just before it hung up is taken, and the end is seen at once.
func TestHangUpBehindDataIsSeen(t *testing.T) {
	for name, hangUp := range map[string]func(*net.TCPConn) error{
		"closed":      (*net.TCPConn).Close,
		"half closed": func(c *net.TCPConn) error { return c.CloseWrite() },
		"reset": func(c *net.TCPConn) error {
			_ = c.SetLinger(0)
			return c.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			ts := startServer(t)
			for range 50 { // whether data and end are met together is chance
				c, f := ts.open(t, 4, "alice", func(pk *packets.Packet) { pk.Connect.Keepalive = 0 })
				makeBusy(t, c)
				c.send(publishPacket(0, 0, "demo/x", "last words"))
				if err := hangUp(c.nc.(*net.TCPConn)); err != nil {
					t.Fatal(err)
				}
				expectEnded(t, f, broker.EndLost)
				f.mu.Lock()
				published := len(f.published)
				f.mu.Unlock()
				if published != 1 && name != "reset" {
					t.Fatalf("%d publishes were taken, want 1", published)
				}
			}
		})
	}
}

// TestManyPingsAreAllAnswered: also those that come in one read.
func TestManyPingsAreAllAnswered(t *testing.T) {
	ts := startServer(t)
	c, _ := ts.open(t, 4, "alice")
	const pings = 1000
	var all []byte
	for range pings {
		all = append(all, packets.Pingreq<<4, 0)
	}
	c.raw(all...)
	for range pings {
		c.expect(packets.Pingresp)
	}
}
