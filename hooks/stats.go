package hooks

import "sync/atomic"

// Stats counts what a Server did since it started.
type Stats struct {
	Connections map[string]int64 // now, by transport: tcp, tls, ws, wss
	Accepted    uint64           // connections so far
	Refused     uint64           // CONNECTs refused
	PacketsIn   uint64
	PacketsOut  uint64 // what sessions sent; answers of the engine are not counted
	BytesIn     uint64
	BytesOut    uint64
	TooLarge    uint64 // deliveries dropped for the client's Maximum Packet Size
}

type counters struct {
	tcp, tls, ws, wss     atomic.Int64
	accepted, refused     atomic.Uint64
	packetsIn, packetsOut atomic.Uint64
	bytesIn, bytesOut     atomic.Uint64
	tooLarge              atomic.Uint64
}

func (c *counters) of(t transport) *atomic.Int64 {
	switch t {
	case overTLS:
		return &c.tls
	case overWS:
		return &c.ws
	case overWSS:
		return &c.wss
	}
	return &c.tcp
}

func (c *counters) opened(t transport) {
	c.accepted.Add(1)
	c.of(t).Add(1)
}

func (c *counters) closed(t transport) { c.of(t).Add(-1) }

// Stats returns the counters.
func (s *Server) Stats() Stats {
	c := &s.count
	return Stats{
		Connections: map[string]int64{
			string(overTCP): c.tcp.Load(), string(overTLS): c.tls.Load(), string(overWS): c.ws.Load(), string(overWSS): c.wss.Load(),
		},
		Accepted: c.accepted.Load(), Refused: c.refused.Load(),
		PacketsIn: c.packetsIn.Load(), PacketsOut: c.packetsOut.Load(),
		BytesIn: c.bytesIn.Load(), BytesOut: c.bytesOut.Load(), TooLarge: c.tooLarge.Load(),
	}
}
