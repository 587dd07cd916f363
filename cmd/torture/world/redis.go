package world

import (
	"fmt"
	"os"
	"path/filepath"

	"kith/broker/redisstore/redistest"
)

// masterName is what the Sentinels call the master.
const masterName = redistest.MasterName

// redis is what the nodes share.
type redis struct {
	servers   []*redistest.Server // the first began as the master
	sentinels []string            // host:port
}

// startRedis starts a Redis that writes each command to its file before it answers. Kept is what the system has taken, so that
// only a crash of the machine, which nobody does here, could lose what was accepted.
func startRedis(dir string, _ bool) (*redis, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	r := &redis{}
	folder := filepath.Join(dir, "1")
	if err := os.Mkdir(folder, 0o700); err != nil {
		return nil, err
	}
	s, err := redistest.Launch(folder, "--appendfsync", "everysec")
	if err != nil {
		return nil, fmt.Errorf("start Redis: %w", err)
	}
	r.servers = append(r.servers, s)
	return r, nil
}

func (r *redis) master() *redistest.Server { return r.servers[0] }

func (r *redis) stop() {
	for _, s := range r.servers {
		s.Kill()
	}
}
