package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/spf13/cobra"

	"kith/broker/pebblestore"
	"kith/configs"
)

func newBackup(p *program) *cobra.Command {
	var server restFlags
	var out string
	cmd := &cobra.Command{
		Use:   "backup",
		Short: "Copy a running server's store into a file",
		Long: `Backup writes the embedded store of a running server to a file, or to stdout: as it is at one moment, with all that was
acknowledged before, while the server goes on. The file is a tar file for kith restore. Settings are not in it. A file
appears under its name only when it is whole.`,
		Example: `  kith backup --out kith.tar
  kith backup --config kith.yaml | zstd > kith.tar.zst
  kith backup --api https://chat.example.com:8080 --token-file admin.token --out kith.tar`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.backup(cmd.Context(), &server, out) },
	}
	cmd.Flags().StringVarP(&out, "out", "o", "", "the `file` to write (default: stdout)")
	server.addAdmin(cmd)
	return cmd
}

func (p *program) backup(ctx context.Context, server *restFlags, out string) error {
	c, err := server.openAdmin(p)
	if err != nil {
		return err
	}
	res, err := c.do(ctx, http.MethodGet, "/v1/backup", nil, "")
	if err != nil {
		return err
	}
	defer res.Body.Close() //nolint:errcheck // it was read
	var n int64
	take := func(w io.Writer) error {
		n, err = io.Copy(w, res.Body)
		return err
	}
	if out == "" {
		err = take(p.stdout)
	} else {
		err = writeWhole(out, take)
	}
	if err != nil {
		return fmt.Errorf("the backup is not whole: %w", err)
	}
	_, err = fmt.Fprintf(p.stderr, "%d bytes backed up\n", n)
	return err
}

func newRestore(p *program) *cobra.Command {
	var settings settingsFlags
	cmd := &cobra.Command{
		Use:   "restore [file]",
		Short: "Make the store of a data folder from a backup",
		Long: `Restore reads a backup from a file, or stdin, and makes the store of the data folder (store.path) from it. The folder must not
hold a store; move an older one away first. What was read is compared with the sums that the backup ends with, and the store is opened
once. Then start kith serve.`,
		Example: `  kith restore kith.tar
  zstdcat kith.tar.zst | kith restore --config kith.yaml
  kith restore --store-path /var/lib/kith-again kith.tar`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return p.restore(settings.sources(p), p.stdin)
			}
			f, err := os.Open(args[0])
			if err != nil {
				return usagef("%w", err)
			}
			defer f.Close() //nolint:errcheck // only read
			return p.restore(settings.sources(p), f)
		},
	}
	settings.add(cmd)
	return cmd
}

func (p *program) restore(s configs.Sources, from io.Reader) error {
	c, err := configs.Load(s)
	if err != nil {
		return settingsError(err)
	}
	if c.Store.Engine != configs.EnginePebble {
		return usagef("store.engine is %s: what is restored is the embedded store; restore Redis as its manual says", c.Store.Engine)
	}
	if err := pebblestore.Restore(c.Store.Pebble, pebblestore.Options{}, from); err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "the store in %s is restored\n", c.Store.Pebble.Path)
	return err
}
