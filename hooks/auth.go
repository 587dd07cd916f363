package hooks

import (
	"context"
	"net"
	"strings"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"kith/broker"
)

// authHook is the one hook that authenticates: it asks the broker to open a session.
type authHook struct {
	mqtt.HookBase
	srv *Server
}

// ID names the hook to the engine.
func (h *authHook) ID() string { return "kith-auth" }

// Provides says which calls the hook wants.
func (h *authHook) Provides(b byte) bool { return b == mqtt.OnConnectAuthenticate }

// OnConnectAuthenticate opens the session that a CONNECT asks for. What came of it stands in the connection's opening,
// since a hook can only say yes or no.
func (h *authHook) OnConnectAuthenticate(cl *mqtt.Client, pk packets.Packet) bool {
	side, ok := cl.Net.Conn.(engineSide)
	if !ok || side.c.opened == nil {
		return false
	}
	c, o := side.c, side.c.opened
	o.request = broker.OpenRequest{
		App:            strings.Clone(string(pk.Connect.Username)),
		ClientID:       strings.Clone(pk.Connect.ClientIdentifier), // the engine's string holds the whole packet
		Password:       pk.Connect.Password,
		Version:        o.version,
		CleanStart:     pk.Connect.Clean,
		ReceiveMaximum: pk.Properties.ReceiveMaximum,
		MaximumPacket:  pk.Properties.MaximumPacketSize,
		Remote:         hostOf(c.remote()),
		Transport:      string(c.transport),
		Will:           o.will,
		WillDelay:      seconds(pk.Connect.WillProperties.WillDelayInterval),
		WillExpiry:     seconds(pk.Connect.WillProperties.MessageExpiryInterval),
	}
	if o.err = c.checkCertificate(o.request.App, o.request.ClientID); o.err != nil {
		h.srv.log.Info("open refused", "app", o.request.App, "client", o.request.ClientID, "address", o.request.Remote, "error", o.err.Message)
		return false
	}
	if o.version == 5 {
		o.request.Expiry = seconds(pk.Properties.SessionExpiryInterval)
		// No device is remembered longer than queue.age (spec 9), so no session is promised longer.
		if app, ok := h.srv.app(broker.AppID(o.request.App)); ok && app.Queue.Age > 0 && o.request.Expiry > app.Queue.Age {
			o.request.Expiry, o.expiryCut = app.Queue.Age, true
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), h.srv.limits.open)
	defer cancel()
	s, present, err := h.srv.open(ctx, &o.request, c)
	if err != nil {
		o.err = broker.AsError(err)
		return false
	}
	o.session, o.present = s, present
	return true
}

func seconds(n uint32) time.Duration { return time.Duration(n) * time.Second }

// hostOf is an address without its port.
func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}
