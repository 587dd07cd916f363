package main

import (
	"context"
	"fmt"
	"time"

	"kith/cmd/torture/load"
	"kith/cmd/torture/world"
)

// misbehaving is every so-manieth client that deaf and mute are for.
const misbehaving = 3

// some are the clients that misbehave this time.
func (s *scene) some() (some []*load.Device) {
	all := s.load.Devices()
	for _, i := range s.r.Perm(len(all))[:len(all)/misbehaving] {
		some = append(some, all[i])
	}
	return some
}

// deaf lets clients stop reading.
func deaf(ctx context.Context, s *scene) (string, error) {
	return s.misbehave(ctx, (*load.Device).Deaf, 8*time.Second, "do not read"), nil
}

// mute lets clients acknowledge nothing, and come back on a new connection.
func mute(ctx context.Context, s *scene) (string, error) {
	return s.misbehave(ctx, (*load.Device).Mute, 5*time.Second, "do not acknowledge"), nil
}

// misbehave sets some clients to what they do wrong, for a second up to most.
func (s *scene) misbehave(ctx context.Context, set func(*load.Device, bool), most time.Duration, what string) string {
	some, d := s.some(), s.lasts(time.Second, most)
	for _, c := range some {
		set(c, true)
	}
	world.Pause(ctx, d)
	for _, c := range some {
		set(c, false)
	}
	return fmt.Sprintf("%d clients %s for %v", len(some), what, rounded(d))
}

// storm lets all clients of the load, and many more, connect at once, twice.
func storm(ctx context.Context, s *scene) (string, error) {
	return fmt.Sprintf("%d clients reconnect at once, %d got in", s.o.storm, s.load.Storm(ctx, s.o.storm)), nil
}
