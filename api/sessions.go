package api

import (
	"context"
	"net/http"

	"kith/broker"
)

// DevicePath is a path to a device of a peer.
type DevicePath struct {
	PeerPath
	Device string `path:"device" doc:"The device's name, percent-encoded." example:"phone"`
}

func parseDevice(where, s string) (broker.DeviceID, error) {
	device, ok := broker.ParseDeviceID(s)
	if !ok {
		return "", problem(broker.InvalidPeer, where+" is not a device: 1-64 characters under a peer's rules")
	}
	return device, nil
}

// Kicked tells how many connections were ended.
type Kicked struct {
	Kicked int `json:"kicked" doc:"How many connections were ended." example:"2"`
}

func (s *Server) registerSessions() {
	register(s, operation{
		id: "kick-peer", method: http.MethodDelete, path: "/v1/apps/{app}/peers/{peer}/sessions", tag: "peers", role: RoleOperator,
		summary: "Kick a peer", description: "Ends all connections of the peer. It may connect again: to keep it out, ban it.",
		errors: []broker.Code{broker.InvalidPeer}, answer: Kicked{2},
	}, func(ctx context.Context, in *PeerPath) (*Answer[Kicked], error) {
		return s.kick(ctx, in, "")
	})
	register(s, operation{
		id: "kick-device", method: http.MethodDelete, path: "/v1/apps/{app}/peers/{peer}/sessions/{device}", tag: "peers", role: RoleOperator,
		summary: "Kick a device", description: "Ends the connection of one device of the peer. It may connect again.",
		errors: []broker.Code{broker.InvalidPeer}, answer: Kicked{1},
	}, func(ctx context.Context, in *DevicePath) (*Answer[Kicked], error) {
		device, err := parseDevice("path.device", in.Device)
		if err != nil {
			return nil, err
		}
		return s.kick(ctx, &in.PeerPath, device)
	})
}

// kick ends the connections of a peer, or of one device.
func (s *Server) kick(ctx context.Context, in *PeerPath, device broker.DeviceID) (*Answer[Kicked], error) {
	peer, err := in.peer()
	if err != nil {
		return nil, err
	}
	n, err := s.broker.Kick(ctx, in.app(), peer, device)
	if err != nil {
		return nil, err
	}
	return answer(Kicked{n}), nil
}
