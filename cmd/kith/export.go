package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"

	"github.com/spf13/cobra"
)

// exporting is what kith export was asked for.
type exporting struct {
	rest         restFlags
	peer         string
	since, until string
	messages     bool
	out          string
}

func newExport(p *program) *cobra.Command {
	var e exporting
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write an app's groups and history as NDJSON",
		Long: `Export writes all of an app that kith import takes in elsewhere: its groups with their members, and its messages,
oldest first, a record a line. With --peer it writes what is known of one peer: its devices, groups, waiting events, and the messages
that it sent or received directly. A file appears under its name only when it is whole.`,
		Example: `  kith export --out demo.ndjson
  kith export --peer alice > alice.ndjson
  kith export --config kith.yaml --app shop --since 2026-01-01T00:00:00Z --messages | gzip > shop.ndjson.gz`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.export(cmd.Context(), &e) },
	}
	f := cmd.Flags()
	f.StringVar(&e.peer, "peer", "", "one `peer` alone")
	f.StringVar(&e.since, "since", "", "messages not before this `time`, such as 2026-01-31T12:00:00Z")
	f.StringVar(&e.until, "until", "", "messages before this `time`")
	f.BoolVar(&e.messages, "messages", false, "messages alone")
	f.StringVarP(&e.out, "out", "o", "", "the `file` to write (default: stdout)")
	e.rest.add(cmd)
	return cmd
}

func (e *exporting) path() (string, error) {
	app, err := e.rest.key.appID()
	if err != nil {
		return "", err
	}
	q := url.Values{"records": {"all"}}
	if e.messages {
		q.Set("records", "messages")
	}
	if e.peer != "" {
		q.Set("peer", e.peer)
	}
	if err := setTimes(q, e.since, e.until); err != nil {
		return "", err
	}
	return "/v1/apps/" + string(app) + "/export?" + q.Encode(), nil
}

func (p *program) export(ctx context.Context, e *exporting) error {
	path, err := e.path()
	if err != nil {
		return err
	}
	c, err := e.rest.open(p)
	if err != nil {
		return err
	}
	res, err := c.do(ctx, http.MethodGet, path, nil, "")
	if err != nil {
		return err
	}
	defer res.Body.Close() //nolint:errcheck // it was read
	lines := &lineCounter{to: p.stdout}
	if e.out == "" {
		_, err = io.Copy(lines, res.Body)
	} else {
		err = writeWhole(e.out, func(f io.Writer) error {
			lines.to = f
			_, err := io.Copy(lines, res.Body)
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("the export is not whole: %w", err)
	}
	_, err = fmt.Fprintf(p.stderr, "%d records exported\n", lines.n)
	return err
}

// lineCounter counts the lines that pass.
type lineCounter struct {
	to io.Writer
	n  int
}

func (l *lineCounter) Write(b []byte) (int, error) {
	n, err := l.to.Write(b)
	l.n += bytes.Count(b[:n], []byte("\n"))
	return n, err
}

// writeWhole writes a file that appears under its name, replacing what stands there, only when all of it is on disk.
func writeWhole(path string, write func(io.Writer) error) error {
	part := path + ".part"
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(part))
	}
	return os.Rename(part, path)
}
