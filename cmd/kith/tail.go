package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/eclipse/paho.golang/paho"
	"github.com/spf13/cobra"

	"kith/broker"
)

func newTail(p *program) *cobra.Command {
	var flags clientFlags
	var peer string
	var watch []string
	var asJSON bool
	var most int
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Print a peer's messages and events as they come",
		Long: `Tail opens a session as --peer on a device of its own, named tail, and prints what arrives: first what waited for
that device, then what comes, until Ctrl-C. What it printed counts as received by that device. It reconnects by itself.`,
		Example: `  kith tail --peer bob
  kith tail --peer bob --watch alice,carol
  kith tail --peer bob --count 1
  kith tail --peer bob --json | jq -r 'select(.kind == "message") | .message'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			peers, err := parsePeers("--watch", watch)
			if err != nil {
				return err
			}
			print := printLine
			if asJSON {
				print = printJSON
			}
			if most < 0 {
				return usagef("--count is not negative")
			}
			return p.tail(cmd.Context(), &flags, peer, peers, tailOutput{p.stdout, print, most})
		},
	}
	f := cmd.Flags()
	f.StringVar(&peer, "peer", "", "the `peer` whose messages are printed")
	f.StringSliceVar(&watch, "watch", nil, "`peers` whose presence is printed")
	f.BoolVar(&asJSON, "json", false, "one JSON object a line")
	f.IntVar(&most, "count", 0, "end after so `many` messages; 0: never")
	flags.add(cmd, "tail")
	markRequired(cmd, "peer")
	return cmd
}

// tailOutput is where tail prints, how, and how many messages; 0: all.
type tailOutput struct {
	w     io.Writer
	print func(io.Writer, *arrival) error
	most  int
}

func (p *program) tail(ctx context.Context, flags *clientFlags, peer string, watch []broker.PeerID, out tailOutput) error {
	done := make(chan error, 1) // nil: enough was printed
	messages := 0
	c, err := flags.open(ctx, p, openOptions{
		peer: peer, keep: true, watch: func() []broker.PeerID { return watch },
		arrived: func(m *paho.Publish) {
			a, ok := readArrival(m)
			if !ok || out.most > 0 && messages == out.most {
				return
			}
			if err := out.print(out.w, &a); err != nil {
				notifyError(done, err)
			}
			if a.Kind == "message" {
				messages++
			}
		},
		settled: func() { // not before: what is not acknowledged comes again the next time
			if messages == out.most && out.most > 0 {
				notifyError(done, nil)
			}
		},
		down: func() { fmt.Fprintln(p.stderr, "kith: connection lost; reconnecting") }, //nolint:errcheck // a courtesy
	})
	if err != nil {
		return err
	}
	defer c.close()
	select {
	case <-ctx.Done():
		return nil
	case err := <-c.ended:
		return err
	case err := <-done:
		return err
	}
}

func printJSON(w io.Writer, a *arrival) error {
	line, err := json.Marshal(a)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", line)
	return err
}

func printLine(w io.Writer, a *arrival) error {
	var err error
	switch {
	case a.Kind == "presence":
		_, err = fmt.Fprintf(w, "%s  * %s is %s\n", a.clock(), printable(a.Peer), printable(a.Status))
	case a.Kind == "event":
		_, err = fmt.Fprintf(w, "%s  * %s %s\n", a.clock(), printable(a.Event), printable(string(a.Detail)))
	case a.Group != "":
		_, err = fmt.Fprintf(w, "%s  %s in %s: %s%s\n", a.clock(), printable(a.From), printable(a.Group), a.text(), waited(a))
	default:
		_, err = fmt.Fprintf(w, "%s  %s to %s: %s%s\n", a.clock(), printable(a.From), printable(a.To), a.text(), waited(a))
	}
	return err
}

func waited(a *arrival) string {
	if a.Offline {
		return "  (waited)"
	}
	return ""
}
