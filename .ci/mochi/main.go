// Mochi is the bare engine for .ci/compare: mochi-mqtt/server as it is, with its own hook that allows everything, and nothing
// kept; or, with the address of a Redis, with its own Redis hook.
//
//	mochi 127.0.0.1:1883 [127.0.0.1:6379]
//
// It is a module of its own so that Kith does not depend on the client of that hook.
package main

import (
	"log"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/hooks/storage/redis"
	"github.com/mochi-mqtt/server/v2/listeners"
)

func main() {
	if len(os.Args) < 2 || len(os.Args) > 3 {
		log.Fatal("usage: mochi ADDRESS [REDIS]")
	}
	if err := serve(os.Args[1], os.Args[2:]); err != nil {
		log.Fatal(err)
	}
}

func serve(address string, store []string) error {
	server := mqtt.New(&mqtt.Options{Logger: slog.New(slog.DiscardHandler)})
	if err := server.AddHook(new(auth.AllowHook), nil); err != nil {
		return err
	}
	if len(store) > 0 {
		if err := server.AddHook(new(redis.Hook), &redis.Options{Address: store[0]}); err != nil {
			return err
		}
	}
	if err := server.AddListener(listeners.NewTCP(listeners.Config{ID: "tcp", Address: address})); err != nil {
		return err
	}
	if err := server.Serve(); err != nil {
		return err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	<-stop
	return server.Close()
}
