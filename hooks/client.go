package hooks

import (
	"io"
	"net"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// The engine's client costs 1.3 KB. A connection has one while it opens, while a packet is in the engine's hands, and as long
// as a filter under {app}/topic/ of it is in the index; most connections have none. Its id is new each time.

// client returns the engine's client of this connection, made if there is none.
func (c *conn) client() *mqtt.Client {
	if c.cl == nil {
		c.cl = c.srv.newClient(c)
		c.cl.Properties.ProtocolVersion = 4
		if c.enc.v5 {
			c.cl.Properties.ProtocolVersion = 5
		}
		c.cl.Properties.Props = packets.Properties{MaximumPacketSize: c.enc.maximum, RequestProblemInfoFlag: !c.enc.problemInfo}
	}
	return c.cl
}

// newClient makes an engine's client with an id that no other has: the engine takes over, resumes and expires by it.
func (s *Server) newClient(c *conn) *mqtt.Client {
	cl := s.engine.NewClient(engineSide{c}, string(c.transport), s.nextID(), false)
	cl.State.TopicAliases = mqtt.TopicAliases{} // ours are in publish.go
	return cl
}

// releaseClient gives the engine's client up, unless it stands for filters in the index.
func (c *conn) releaseClient() {
	if c.cl != nil && c.cl.State.Subscriptions.Len() == 0 {
		c.dropClient()
	}
}

// dropClient takes the connection out of the engine and its index.
func (c *conn) dropClient() {
	if c.cl != nil {
		c.srv.topics.leave(c.cl)
		c.cl.Stop(nil)
		c.cl = nil
	}
}

// engineSide is the connection as the engine sees it: it writes into the output, and reads and closes nothing.
type engineSide struct{ c *conn }

func (e engineSide) Write(b []byte) (int, error) {
	e.c.out.write(b)
	return len(b), nil
}
func (e engineSide) Read([]byte) (int, error)         { return 0, io.EOF }
func (e engineSide) Close() error                     { return nil }
func (e engineSide) LocalAddr() net.Addr              { return e.c.nc.LocalAddr() }
func (e engineSide) RemoteAddr() net.Addr             { return e.c.nc.RemoteAddr() }
func (e engineSide) SetDeadline(time.Time) error      { return nil }
func (e engineSide) SetReadDeadline(time.Time) error  { return nil }
func (e engineSide) SetWriteDeadline(time.Time) error { return nil }
