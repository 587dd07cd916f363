package hooks

import (
	"log/slog"
	"math"

	mqtt "github.com/mochi-mqtt/server/v2"
)

// buildEngine makes the mochi server. It is never told to Serve: its listeners, its event loop ($SYS, session and in-flight expiry,
// delayed wills) and its sessions are not used. It does not log either: its error path prints whole packets.
func (s *Server) buildEngine() error {
	c := mqtt.NewDefaultServerCapabilities()
	c.MaximumMessageExpiryInterval = math.MaxInt64
	c.MaximumClientWritesPending = 1
	c.MaximumPacketSize = maxPacket
	c.ReceiveMaximum = receiveMaximum
	c.TopicAliasMaximum = aliasMaximum
	c.MinimumProtocolVersion = 4
	s.engine = mqtt.New(&mqtt.Options{
		Capabilities:             c,
		ClientNetReadBufferSize:  16, // it never reads; the least that bufio makes
		ClientNetWriteBufferSize: 16,
		Logger:                   slog.New(slog.DiscardHandler),
	})
	s.auth = &authHook{srv: s}
	if err := s.engine.AddHook(s.auth, nil); err != nil {
		return err
	}
	return s.engine.AddHook(&aclHook{}, nil)
}
