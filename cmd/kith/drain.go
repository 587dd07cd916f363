package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"kith/api"
)

// drainPoll is how often kith drain asks how far it is.
const drainPoll = time.Second

// draining is what kith drain was asked for.
type draining struct {
	rest restFlags
	node string
	end  bool
	wait time.Duration
}

func newDrain(p *program) *cobra.Command {
	var d draining
	cmd := &cobra.Command{
		Use:   "drain NODE",
		Short: "Move a node's clients to the other nodes",
		Long: `Drain has a node of a cluster refuse new clients and send those that it has to the other nodes, so many a second as its
node.drain.per_second says, and waits until none is left. Nothing is lost and watchers see nobody go: sessions move as they are. Its /readyz
says no from the first moment. Then it can be stopped; or it is taken back with --end.

Any node's REST takes the request. It needs the token of an operator who is admin of all apps.
SIGTERM drains a node by itself before it stops, for node.drain.timeout at most.`,
		Example: `  kith drain kith-2 --config kith.yaml
  kith drain kith-2 --api https://chat.example.com:8080 --token-file ops.token --wait 1h
  kith drain kith-2 --token-file ops.token --end`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d.node = args[0]
			return p.drain(cmd.Context(), &d)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&d.end, "end", false, "take clients again")
	f.DurationVar(&d.wait, "wait", 15*time.Minute, "how long to wait until no client is left; 0s: not at all")
	d.rest.addAdmin(cmd)
	return cmd
}

func (p *program) drain(ctx context.Context, d *draining) error {
	c, err := d.rest.openAdmin(p)
	if err != nil {
		return err
	}
	method := http.MethodPut
	if d.end {
		method = http.MethodDelete
	}
	var n api.Node
	if err := c.call(ctx, method, "/v1/nodes/"+url.PathEscape(d.node)+"/drain", nil, &n); err != nil {
		return err
	}
	if d.end {
		_, err = fmt.Fprintf(p.stdout, "%s takes clients again\n", d.node)
		return err
	}
	if d.wait == 0 {
		_, err = fmt.Fprintf(p.stdout, "%s is being drained of %d clients\n", d.node, n.Sessions)
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, d.wait)
	defer cancel()
	if err := p.awaitDrained(ctx, c, n.Name, n.Sessions); err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "%s has no clients any more: stop it, or take it back with --end\n", d.node)
	return err
}

// awaitDrained waits until a node has no clients, or is gone, and tells how far it is.
func (p *program) awaitDrained(ctx context.Context, c *rest, node string, left int64) error {
	poll := time.NewTicker(drainPoll)
	defer poll.Stop()
	for left > 0 {
		fmt.Fprintf(p.stderr, "%s: %d clients left\n", node, left) //nolint:errcheck // nobody else to tell
		select {
		case <-poll.C:
		case <-ctx.Done():
			return fmt.Errorf("%s still has %d clients; it goes on being drained", node, left)
		}
		var page api.Page[api.Node]
		if err := c.call(ctx, http.MethodGet, "/v1/nodes?limit=1000", nil, &page); err != nil {
			return err
		}
		i := slices.IndexFunc(page.Items, func(n api.Node) bool { return n.Name == node })
		if i < 0 {
			return nil // stopped
		}
		if !page.Items[i].Draining {
			return fmt.Errorf("%s is no longer drained: somebody took it back, or it started again", node)
		}
		left = page.Items[i].Sessions
	}
	return nil
}
