package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"kith/configs"
)

func newServe(p *program) *cobra.Command {
	var settings settingsFlags
	var level, format string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the server",
		Long: `Serve runs Kith. Without a file it starts with an embedded store in ./data and an app named demo, on this
machine's loopback alone, and prints lines to paste next.

Settings come from the file, then KITH_… environment variables, then flags; "kith settings" lists them all.
SIGHUP takes up changed apps, limits and operators without dropping a connection. SIGTERM or SIGINT stops it:
where other nodes share its Redis, clients are first sent there (node.drain); then they are told, what was
acknowledged is safe, 15 s at most. A second signal ends it at once.`,
		Example: `  kith serve
  kith serve --config kith.yaml
  kith serve --listen-mqtt 127.0.0.1:1884 --store-path /var/lib/kith
  KITH_APPS_0_ID=shop KITH_APPS_0_MASTER_KEY=… kith serve`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := newLogger(p.stderr, level, format)
			if err != nil {
				return err
			}
			s := settings.sources(p)
			s.MakeDemo = true
			return p.serve(cmd.Context(), s, log)
		},
	}
	settings.add(cmd)
	cmd.Flags().StringVar(&level, "log-level", "info", "debug, info, warn or error")
	cmd.Flags().StringVar(&format, "log-format", "text", "text or json")
	return cmd
}

func (p *program) serve(ctx context.Context, s configs.Sources, log *slog.Logger) error {
	tune()
	cfg, err := configs.Load(s)
	if err != nil {
		return settingsError(err)
	}
	logWarnings(log, cfg)
	n, err := openNode(ctx, cfg, log)
	if err != nil {
		return err
	}
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	if err := p.printBanner(n); err != nil {
		return errors.Join(err, n.close())
	}
	return n.run(ctx, hangup, func() (*configs.Config, error) { return configs.Load(s) })
}

func newLogger(w io.Writer, level, format string) (*slog.Logger, error) {
	var options slog.HandlerOptions
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, usagef("--log-level %s: write debug, info, warn or error", level)
	}
	options.Level = l
	switch strings.ToLower(format) {
	case "text":
		return slog.New(slog.NewTextHandler(w, &options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, &options)), nil
	}
	return nil, usagef("--log-format %s: write text or json", format)
}

// printBanner tells where the node listens and, without a file, what to do next.
func (p *program) printBanner(n *node) error {
	_, err := fmt.Fprint(p.stdout, banner(n))
	return err
}
