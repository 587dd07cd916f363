package redisstore

import "github.com/redis/go-redis/v9"

// Client returns the store's connections, for what shares its Redis. Nothing on them is tried twice, and they end with the store.
func (s *Store) Client() redis.UniversalClient { return s.client }
