package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kith/broker"
	"kith/broker/pebblestore"
	"kith/broker/redisstore"
	"kith/configs"
)

func newMigrate(p *program) *cobra.Command {
	var settings settingsFlags
	var from, to string
	cmd := &cobra.Command{
		Use:   "migrate --from pebble --to redis",
		Short: "Move everything from one store into the other",
		Long: `Migrate copies all that a store holds, messages, queues, groups, devices and records, with its ids and numbers, into a store of the
other engine that is empty, and then reads both and compares them. Both are where the settings say: store.path and store.redis. No server may
run on either. What was interrupted goes on when the same command is run again. The store that it reads stays as it is.`,
		Example: `  kith migrate --config kith.yaml --from pebble --to redis
  kith migrate --from redis --to pebble --store-redis-addrs 127.0.0.1:6379 --store-path data`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.migrate(cmd.Context(), settings.sources(p), from, to)
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "the `engine` of the store that is read: pebble or redis")
	cmd.Flags().StringVar(&to, "to", "", "the `engine` of the one that is filled")
	settings.add(cmd)
	markRequired(cmd, "from", "to")
	return cmd
}

func (p *program) migrate(ctx context.Context, s configs.Sources, from, to string) (err error) {
	if engines := from + " " + to; engines != "pebble redis" && engines != "redis pebble" {
		return usagef("--from %s --to %s: write pebble and redis, or redis and pebble", from, to)
	}
	c, err := configs.Load(s)
	if err != nil {
		return settingsError(err)
	}
	source, err := openMovable(ctx, c, from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	target, err := openMovable(ctx, c, to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, target.Close()) }()

	progress := &moveProgress{to: p.stderr, began: time.Now()}
	moved, err := broker.Move(ctx, source, target, progress.tell)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("interrupted after %s: run it again to go on", movedText(moved))
	case err != nil:
		return fmt.Errorf("not moved: %w", err)
	case moved.Checked == 0:
		return fmt.Errorf("the %s store is empty: do the settings name the right one?", from)
	}
	_, err = fmt.Fprintf(p.stdout, "moved from %s to %s: %s. Set store.engine to %s and start kith serve\n", from, to, movedText(moved), to)
	return err
}

// openMovable opens the store of an engine, unless a server runs on it.
func openMovable(ctx context.Context, c *configs.Config, engine string) (broker.Movable, error) {
	if engine == configs.EnginePebble {
		return pebblestore.Open(c.Store.Pebble, pebblestore.Options{}) // its folder has one owner
	}
	store, err := redisstore.Open(c.Store.Redis, redisstore.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	running, err := broker.Running(ctx, store, c.Node.Lease)
	if err == nil && len(running) > 0 {
		err = fmt.Errorf("kith runs on this Redis: stop %s first", strings.Join(running, ", "))
	}
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return store, nil
}

// moveShow is how often progress is shown.
const moveShow = time.Second

// moveProgress tells how far a move is.
type moveProgress struct {
	to           io.Writer
	began, shown time.Time
}

func (m *moveProgress) tell(moved broker.Moved) {
	if now := time.Now(); now.Sub(m.shown) >= moveShow {
		m.shown = now
		fmt.Fprintf(m.to, "%v: %s\n", now.Sub(m.began).Round(time.Second), movedText(moved)) //nolint:errcheck // nobody else to tell
	}
}

func movedText(m broker.Moved) string {
	return fmt.Sprintf("%d entries of logs with %d messages, and %d records; %d compared", m.Entries, m.Messages, m.Records, m.Checked)
}
