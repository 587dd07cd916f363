package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// The oldest Redis that the store takes.
const (
	oldestMajor = 6
	oldestMinor = 2
)

// The oldest Redis that has WAITAOF.
const (
	waitDiskMajor = 7
	waitDiskMinor = 2
)

// inspect refuses servers that cannot keep the store's promises, and warns of settings that weaken them.
func (s *Store) inspect(ctx context.Context) error {
	switch client := s.client.(type) {
	case *redis.ClusterClient:
		return client.ForEachMaster(ctx, s.inspectServer)
	case *redis.Client:
		return s.inspectServer(ctx, client)
	}
	return nil
}

func (s *Store) inspectServer(ctx context.Context, client *redis.Client) error {
	info, err := client.Info(ctx).Result()
	if err != nil {
		return fmt.Errorf("ask what the server is: %w", err)
	}
	fields := infoFields(info)
	if err := fit(fields); err != nil {
		return err
	}
	if err := s.fitDisk(fields); err != nil {
		return err
	}
	// A user without the right to ask, or a service that hides it, tells nothing, and nothing is said about it.
	fsync, _ := client.ConfigGet(ctx, "appendfsync").Result()
	for _, why := range doubts(fields, fsync["appendfsync"]) {
		s.opts.Logger.Warn("redis may lose what was acknowledged", "server", client.Options().Addr, "why", why)
	}
	return nil
}

// infoFields are the fields of an answer to INFO.
func infoFields(info string) map[string]string {
	fields := map[string]string{}
	for line := range strings.Lines(info) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			fields[name] = value
		}
	}
	return fields
}

// fit says what keeps a server from being used.
func fit(fields map[string]string) error {
	if version := fields["redis_version"]; olderThan(version, oldestMajor, oldestMinor) {
		return fmt.Errorf("%w: it is Redis %s; Kith needs %d.%d or later", errSetting, version, oldestMajor, oldestMinor)
	}
	if fields["role"] == "slave" {
		return fmt.Errorf("%w: it is a replica: give its master's address, or those of the Sentinels with store.redis.master_name", errSetting)
	}
	if policy := fields["maxmemory_policy"]; evicts(policy) && fields["maxmemory"] != "0" {
		return fmt.Errorf("%w: its maxmemory-policy %s removes acknowledged messages when memory is short: CONFIG SET maxmemory-policy noeviction", errSetting, policy)
	}
	return nil
}

// fitDisk says what keeps a server from Config.WaitDisk.
func (s *Store) fitDisk(fields map[string]string) error {
	switch version := fields["redis_version"]; {
	case !s.disk:
		return nil
	case olderThan(version, waitDiskMajor, waitDiskMinor):
		return fmt.Errorf("%w: store.redis.wait_disk needs Redis %d.%d or later, and it is %s: leave it false, and set appendfsync always", errSetting, waitDiskMajor, waitDiskMinor, version)
	case fields["aof_enabled"] == "0":
		return fmt.Errorf("%w: store.redis.wait_disk needs a Redis with appendonly yes", errSetting)
	}
	return nil
}

// olderThan is false for a version that does not parse.
func olderThan(version string, major, minor int) bool {
	first, rest, _ := strings.Cut(version, ".")
	second, _, _ := strings.Cut(rest, ".")
	n, err := strconv.Atoi(first)
	m, err2 := strconv.Atoi(second)
	return errors.Join(err, err2) == nil && (n < major || n == major && m < minor)
}

func evicts(policy string) bool { return policy != "" && policy != "noeviction" }

// doubts are settings under which a server may lose what it accepted. appendfsync is "" where it is not known.
func doubts(fields map[string]string, appendfsync string) (why []string) {
	switch {
	case fields["aof_enabled"] == "0":
		why = append(why, "appendonly is no: a restart of Redis loses all since its last snapshot; set appendonly yes")
	case appendfsync == "no":
		why = append(why, "appendfsync is no: a power cut can lose half a minute; set appendfsync everysec or always")
	}
	if policy := fields["maxmemory_policy"]; evicts(policy) {
		why = append(why, "maxmemory-policy "+policy+" would remove messages once maxmemory is set; set noeviction")
	}
	return why
}
