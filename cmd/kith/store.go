package main

import (
	"log/slog"

	"kith/api"
	"kith/broker"
	"kith/broker/pebblestore"
	"kith/broker/redisstore"
	"kith/configs"
)

// openStore opens the store that the settings choose. fatal ends the process when its files can no longer be trusted.
func openStore(cfg *configs.StoreConfig, log *slog.Logger, fatal func(error)) (broker.Store, api.MetricSource, error) {
	if cfg.Engine == configs.EngineRedis {
		store, err := redisstore.Open(cfg.Redis, redisstore.Options{Logger: log})
		if err != nil {
			return nil, nil, err
		}
		return store, redisMetrics{store}, nil
	}
	store, err := pebblestore.Open(cfg.Pebble, pebblestore.Options{Logger: log, OnFatal: fatal})
	if err != nil {
		return nil, nil, err
	}
	return store, pebbleMetrics{store}, nil
}
