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
	some, d := s.some(), s.lasts(time.Second, 8*time.Second)
	for _, c := range some {
		c.Deaf(true)
	}
	world.Pause(ctx, d)
	for _, c := range some {
		c.Deaf(false)
	}
	return fmt.Sprintf("%d clients do not read for %v", len(some), rounded(d)), nil
}

// mute lets clients acknowledge nothing, and come back on a new connection.
func mute(ctx context.Context, s *scene) (string, error) {
	some, d := s.some(), s.lasts(time.Second, 5*time.Second)
	for _, c := range some {
		c.Mute(true)
	}
	world.Pause(ctx, d)
	for _, c := range some {
		c.Mute(false)
	}
	return fmt.Sprintf("%d clients do not acknowledge for %v", len(some), rounded(d)), nil
}

// storm lets all clients of the load, and many more, connect at once, twice.
func storm(ctx context.Context, s *scene) (string, error) {
	return fmt.Sprintf("%d clients reconnect at once, %d got in", s.o.storm, s.load.Storm(ctx, s.o.storm)), nil
}
