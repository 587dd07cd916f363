package main

import (
	"context"
	"io"
	"log/slog"
	"time"

	"kith/api"
	"kith/bridge/redisbus"
	"kith/broker"
	"kith/broker/pebblestore"
	"kith/broker/redisstore"
	"kith/configs"
)

// redisLate is how long a message that several nodes send at once may take to reach a log without numbers in another shard.
const redisLate = 2 * time.Second

// engine is what the settings' store brings along.
type engine struct {
	store   broker.Store
	bus     broker.Bus // between the nodes that share the store; nil where it is one node's
	late    time.Duration
	sources map[string]api.MetricSource
	backup  func(context.Context, io.Writer) error // nil: Redis is backed up by its own means
	mended  chan error                             // gets why the store failed when it can be opened anew; nil: it comes back by itself
}

// openEngine opens the store that the settings choose. fatal ends the process when its files can no longer be trusted.
func openEngine(cfg *configs.StoreConfig, log *slog.Logger, now func() time.Time, fatal func(error)) (*engine, error) {
	if cfg.Engine == configs.EngineRedis {
		store, err := redisstore.Open(cfg.Redis, redisstore.Options{Logger: log, Now: now})
		if err != nil {
			return nil, err
		}
		bus := redisbus.New(store.Client(), cfg.Redis.Prefix, redisbus.Options{Logger: log})
		return &engine{store: store, bus: bus, late: redisLate, sources: map[string]api.MetricSource{"store": redisMetrics{store}, "bus": busMetrics{bus}}}, nil
	}
	mended := make(chan error, 1)
	store, err := pebblestore.Open(cfg.Pebble, pebblestore.Options{Logger: log, Now: now, OnFatal: fatal, OnMended: func(failure error) { mended <- failure }})
	if err != nil {
		return nil, err
	}
	return &engine{store: store, mended: mended, sources: map[string]api.MetricSource{"store": pebbleMetrics{store}}, backup: store.Backup}, nil
}
