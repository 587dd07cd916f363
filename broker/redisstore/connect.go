package redisstore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// errSetting is a fault that no waiting mends.
var errSetting = errors.New("setting does not fit")

// connect returns a client for what is there: a server, what the Sentinels name, or a Redis Cluster.
func connect(ctx context.Context, cfg Config, opts Options) (redis.UniversalClient, error) {
	if len(cfg.Addrs) == 0 {
		return nil, fmt.Errorf("%w: no addresses", errSetting)
	}
	o, err := clientOptions(cfg, opts)
	if err != nil {
		return nil, err
	}
	if cfg.MasterName != "" {
		o.OnConnect = loadScriptsOnMaster
		return redis.NewUniversalClient(o), nil
	}
	cluster, err := isCluster(ctx, o)
	switch {
	case err != nil:
		return nil, err
	case !cluster && len(cfg.Addrs) > 1:
		return nil, fmt.Errorf("%w: several addresses without a master_name are those of a Redis Cluster; this server is of none", errSetting)
	case cluster && cfg.WaitReplicas != 0:
		return nil, fmt.Errorf("%w: store.redis.wait_replicas is not for a Redis Cluster: leave it 0, and set min-replicas-to-write there", errSetting)
	case cluster && cfg.WaitDisk:
		return nil, fmt.Errorf("%w: store.redis.wait_disk is not for a Redis Cluster: leave it false, and set appendfsync always there", errSetting)
	case cluster && cfg.DB != 0:
		return nil, fmt.Errorf("%w: a Redis Cluster has no database but 0", errSetting)
	}
	o.IsClusterMode = cluster
	return redis.NewUniversalClient(o), nil
}

// silence drops what the client prints to standard error of its own accord: it is in the errors too.
type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

// quiet is once a process because the client's logger is.
var quiet = sync.OnceFunc(func() { redis.SetLogger(silence{}) })

func clientOptions(cfg Config, opts Options) (*redis.UniversalOptions, error) {
	o := &redis.UniversalOptions{
		Addrs: cfg.Addrs, Username: cfg.Username, Password: cfg.Password, DB: cfg.DB, MasterName: cfg.MasterName,
		SentinelUsername: cfg.SentinelUsername, SentinelPassword: cfg.SentinelPassword,
		OnConnect: loadScripts,
		Protocol:  2,
		// What failed is never sent again by the client: it cannot know what was done.
		MaxRetries: -1, MaxRedirects: -1,
		DialTimeout: opts.Timeout, DialerRetries: 1, ReadTimeout: opts.Timeout, WriteTimeout: opts.Timeout, PoolTimeout: opts.Timeout,
		ContextTimeoutEnabled: true,
		PoolSize:              opts.Connections,
		ReadBufferSize:        64 << 10, WriteBufferSize: 64 << 10,
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if !cfg.TLS {
		return o, nil
	}
	o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.CA == "" {
		return o, nil
	}
	authorities, err := os.ReadFile(cfg.CA)
	if err != nil {
		return nil, fmt.Errorf("%w: store.redis.ca: %w", errSetting, err)
	}
	o.TLSConfig.RootCAs = x509.NewCertPool()
	if !o.TLSConfig.RootCAs.AppendCertsFromPEM(authorities) {
		return nil, fmt.Errorf("%w: store.redis.ca: %s holds no certificate in PEM", errSetting, cfg.CA)
	}
	return o, nil
}

// isCluster asks the first address that answers.
func isCluster(ctx context.Context, o *redis.UniversalOptions) (bool, error) {
	var failed error
	for _, addr := range o.Addrs {
		one := o.Simple()
		one.Addr, one.DB, one.OnConnect = addr, 0, nil
		client := redis.NewClient(one)
		info, err := client.Info(ctx, "cluster").Result()
		if err = errors.Join(err, client.Close()); err == nil {
			return strings.Contains(info, "cluster_enabled:1"), nil
		}
		failed = errors.Join(failed, fmt.Errorf("ask %s whether it is of a cluster: %w", addr, err))
	}
	return false, failed
}
