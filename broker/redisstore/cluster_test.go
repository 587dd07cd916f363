package redisstore_test

import (
	"testing"

	"kith/broker"
	"kith/broker/redisstore"
	"kith/broker/redisstore/redistest"
	"kith/broker/storetest"
)

func TestSuiteOnCluster(t *testing.T) {
	addrs := redistest.Addrs(redistest.StartCluster(t))
	storetest.Run(t, func(testing.TB) storetest.Factory {
		cfg := redisstore.Config{Addrs: addrs, Prefix: newPrefix()}
		return storetest.Factory{Open: func(t testing.TB) broker.Store { return open(t, cfg, redisstore.Options{}) }}
	})
}
