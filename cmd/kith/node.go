package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"kith/api"
	"kith/broker"
	"kith/broker/edge"
	"kith/configs"
	"kith/hooks"
)

// node is a running Kith: the store, the broker, and its two sides, wired by hand.
type node struct {
	log       *slog.Logger
	cfg       *configs.Config // in force; a reload replaces it
	store     broker.Store
	mended    <-chan error // of engine
	broker    *broker.Broker
	mqtt      *hooks.Server
	web       *api.Server
	guard     *edge.Guard
	listeners []listener
	secure    bool // http is HTTPS
}

// listener is an open port, by the key of its address below "listen".
type listener struct {
	name string
	net.Listener
}

// stopTimeout bounds how long a stop takes.
const stopTimeout = 15 * time.Second

// openNode builds a node and opens its store and ports. What is open when it fails is closed again.
func openNode(ctx context.Context, cfg *configs.Config, log *slog.Logger) (_ *node, err error) {
	now := wallClock(log)
	n := &node{log: log, cfg: cfg, guard: edge.NewGuard(cfg.Limits, log, now)}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.close())
		}
	}()
	name, err := nodeName(cfg)
	if err != nil {
		return nil, err
	}
	e, err := openEngine(&cfg.Store, log, now, n.fatal)
	if err != nil {
		return nil, err
	}
	n.store, n.mended = e.store, e.mended
	n.broker, err = broker.New(broker.Options{
		Store: n.store, Node: name, Bus: e.bus, Lease: cfg.Node.Lease, DrainPerSecond: cfg.Node.Drain.PerSecond, Late: e.late, Version: version(), Apps: cfg.Apps, Logger: log, Now: now,
	})
	if err != nil {
		return nil, fmt.Errorf("start broker: %w", err)
	}
	mqtt := cfg.Listen.Config
	mqtt.MQTT, mqtt.MQTTS = "", "" // the ports are opened here, to tell them before anything runs
	n.mqtt, err = hooks.New(n.broker, hooks.Options{Config: mqtt, Logger: log, Now: now, Reference: cfg.Node.Drain.Reference})
	if err != nil {
		return nil, fmt.Errorf("start mqtt: %w", err)
	}
	if err := n.broker.LoadRetained(ctx); err != nil {
		return nil, err
	}
	certificate, mount := webTLS(n.mqtt.Certificates(), cfg.Listen.TLS.ClientCA != "", n.mqtt.WebSocketHandler())
	n.secure = certificate != nil
	e.sources["mqtt"], e.sources["edge"] = mqttMetrics{n.mqtt}, edgeMetrics{n.guard}
	n.web = api.New(n.broker, api.Options{
		Config: cfg.API, Version: version(), MQTT: mount, TLS: certificate, Logger: log, Now: now, Overloaded: n.guard.Overloaded,
		Sources: e.sources, Backup: e.backup,
	})
	return n, n.listen(ctx)
}

func nodeName(cfg *configs.Config) (string, error) {
	if cfg.Node.Name != "" {
		return cfg.Node.Name, nil
	}
	name, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("name the node (set node.name): %w", err)
	}
	return name, nil
}

// fatal ends the process when the store's files can no longer be trusted: going on could acknowledge what is not kept.
func (n *node) fatal(err error) {
	n.log.Error("the store is damaged or its disk fails; ending at once", "path", n.cfg.Store.Pebble.Path, "err", err)
	os.Exit(exitFailed)
}

func (n *node) listen(ctx context.Context) error {
	l := &n.cfg.Listen
	for _, at := range []struct{ name, addr string }{{"mqtt", l.MQTT}, {"mqtts", l.MQTTS}, {"http", l.HTTP}} {
		if at.addr == "" {
			continue
		}
		ln, err := new(net.ListenConfig).Listen(ctx, "tcp", at.addr)
		if err != nil {
			return listenError(at.name, at.addr, err)
		}
		n.listeners = append(n.listeners, listener{at.name, edge.NewListener(ln, l.Proxy, n.guard, n.log)})
	}
	return nil
}

// listenError says what to do.
func listenError(name, addr string, err error) error {
	key := "listen." + name
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s: another program listens on %s already: stop it, or choose another port, such as --%s %s", key, addr, flagName(key), otherPort(addr))
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%s: this user may not listen on %s: choose a port of 1024 or more (%w)", key, addr, err)
	}
	return fmt.Errorf("%s: cannot listen on %s: %w", key, addr, err)
}

func otherPort(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return ":0"
	}
	var number int
	if _, err := fmt.Sscan(port, &number); err != nil || number >= 65535 {
		return net.JoinHostPort(host, "0")
	}
	return net.JoinHostPort(host, fmt.Sprint(number+1))
}

// run serves until ctx ends or a part fails, and then stops in order. reload is asked for new settings at each hangup.
func (n *node) run(ctx context.Context, hangup <-chan os.Signal, reload func() (*configs.Config, error)) error {
	failed, fail := context.WithCancelCause(context.WithoutCancel(ctx))
	defer fail(nil)
	ctx, stop := context.WithCancelCause(ctx)
	context.AfterFunc(failed, func() { stop(context.Cause(failed)) })
	work := startStage(fail, n.broker.Run, n.awaitMended)
	web := startStage(fail)
	mqtt := startStage(fail, n.mqtt.Run)
	for _, l := range n.listeners {
		switch l.name {
		case "mqtt":
			mqtt.run(func(ctx context.Context) error { return n.serve(ctx, l, n.mqtt.Serve) })
		case "mqtts":
			mqtt.run(func(ctx context.Context) error { return n.serve(ctx, l, n.mqtt.ServeTLS) })
		case "http":
			web.run(func(ctx context.Context) error { return n.web.Run(ctx, l) })
		}
	}
	n.log.Info("kith runs", "version", version(), "apps", len(n.cfg.Apps))
	n.reloads(ctx, hangup, reload)

	n.log.Info("kith stops", "why", context.Cause(ctx).Error())
	if failed.Err() == nil {
		n.drain(failed)
	}
	stopped := make(chan error, 1)
	go func() {
		n.broker.CloseAll(broker.CloseShutdown) // from here on /readyz says no
		stopped <- errors.Join(mqtt.end(), web.end(), work.end(), n.store.Close())
	}()
	select {
	case err := <-stopped:
		if err == nil {
			n.log.Info("kith stopped")
		}
		return err
	case <-time.After(stopTimeout):
		return fmt.Errorf("not stopped within %v; what was acknowledged is safe", stopTimeout)
	}
}

// awaitMended ends the node once its store, which failed, can be opened anew: whoever keeps it running starts it again.
func (n *node) awaitMended(ctx context.Context) error {
	select {
	case failure := <-n.mended:
		return fmt.Errorf("the store's disk takes writes again, start this anew; it had failed: %w", failure)
	case <-ctx.Done():
		return nil
	}
}

// drain moves the clients to other nodes before a stop, where there are any, until ctx ends.
func (n *node) drain(ctx context.Context) {
	if n.cfg.Node.Drain.Timeout == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, n.cfg.Node.Drain.Timeout)
	defer cancel()
	if err := n.broker.Drain(ctx); err != nil && !errors.Is(err, broker.ErrNoRefuge) {
		n.log.Warn("not all clients could be sent to other nodes; the rest are closed at once", "sessions", n.broker.Node().Sessions, "err", err)
	}
}

// serve takes connections once sessions can be opened; until then clients wait in the listener's backlog.
func (n *node) serve(ctx context.Context, l net.Listener, serve func(context.Context, net.Listener) error) error {
	select {
	case <-n.broker.Joined():
		return serve(ctx, l)
	case <-ctx.Done():
		return l.Close()
	}
}

// reloads takes up new settings until ctx ends.
func (n *node) reloads(ctx context.Context, hangup <-chan os.Signal, load func() (*configs.Config, error)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangup:
		}
		next, err := load()
		if err != nil {
			n.log.Error("settings not reloaded; the former stay in force", "problems", strings.Split(err.Error(), "\n"))
			continue
		}
		for _, key := range n.cfg.ReloadDiff(next) {
			n.log.Warn("setting changed, but takes effect only at a restart", "key", key)
		}
		logWarnings(n.log, next)
		n.broker.SetApps(next.Apps)
		if err := n.broker.LoadRetained(ctx); err != nil {
			n.log.Error("what is retained in added apps could not be read; it is missing until the next reload", "err", err)
		}
		n.web.SetOperators(next.API.Operators)
		n.guard.SetLimits(next.Limits)
		n.mqtt.ReloadCertificates()
		n.cfg.Apps, n.cfg.API.Operators, n.cfg.Limits = next.Apps, next.API.Operators, next.Limits
		n.log.Info("settings reloaded", "apps", len(next.Apps), "operators", len(next.API.Operators))
	}
}

// close releases what openNode opened, where run is not reached.
func (n *node) close() error {
	var errs []error
	for _, l := range n.listeners {
		errs = append(errs, l.Close())
	}
	if n.store != nil {
		errs = append(errs, n.store.Close())
	}
	return errors.Join(errs...)
}

func logWarnings(log *slog.Logger, cfg *configs.Config) {
	for _, w := range cfg.Warnings() {
		if w.Key == "" {
			log.Warn("settings are worth a second look", "why", w.Text)
		} else {
			log.Warn("setting is worth a second look", "key", w.Key, "why", w.Text)
		}
	}
}
