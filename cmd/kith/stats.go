package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"kith/api"
)

func newStats(p *program) *cobra.Command {
	var r report
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "Show the nodes, and what the one that answers did",
		Long: `Stats prints the nodes that are up, and counts of the node that answers, over all apps, since it started. It takes an operator's token: one
that is given, or that of an admin of all apps in the settings. For graphs scrape /metrics.`,
		Example: `  kith stats
  kith stats --token-file ops.token
  KITH_TOKEN=… kith stats --api https://chat.example.com:8080 --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.stats(cmd.Context(), &r) },
	}
	cmd.Flags().BoolVar(&r.asJSON, "json", false, "print JSON: the counts, and the nodes as nodes")
	r.admin = true
	r.rest.addAdmin(cmd)
	return cmd
}

// statistics is what stats prints as JSON.
type statistics struct {
	api.Stats
	Nodes []api.Node `json:"nodes"`
}

func (p *program) stats(ctx context.Context, r *report) error {
	c, err := r.open(p)
	if err != nil {
		return err
	}
	var nodes api.Page[api.Node]
	if err := c.call(ctx, http.MethodGet, "/v1/nodes?limit="+strconv.Itoa(maxPage), nil, &nodes); err != nil {
		return err
	}
	s := statistics{Nodes: nodes.Items}
	if err := c.call(ctx, http.MethodGet, "/v1/stats", nil, &s.Stats); err != nil {
		return err
	}
	if r.asJSON {
		return printObject(p.stdout, s)
	}
	err = printTable(p.stdout, s.Nodes, []column[api.Node]{
		{"NODE", func(n *api.Node) string { return n.Name }},
		{"VERSION", func(n *api.Node) string { return n.Version }},
		{"STARTED", func(n *api.Node) string { return clock(n.Started) }},
		{"SESSIONS", func(n *api.Node) string { return strconv.FormatInt(n.Sessions, 10) }},
		{"READY", func(n *api.Node) string { return yesNo(n.Ready) }},
		{"DRAINING", func(n *api.Node) string { return yesNo(n.Draining) }},
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(p.stdout) //nolint:errcheck // the facts tell
	lines := [][2]string{
		{"sessions", fmt.Sprint(s.Sessions)},
		{"peers online", fmt.Sprint(s.PeersOnline)},
		{"accepted", fmt.Sprint(s.Accepted)},
		{"transient", fmt.Sprint(s.Transient)},
		{"delivered", fmt.Sprint(s.Delivered)},
		{"acknowledged", fmt.Sprint(s.Acknowledged)},
		{"missed", fmt.Sprint(s.Missed)},
	}
	for _, code := range slices.Sorted(maps.Keys(s.Refused)) {
		lines = append(lines, [2]string{"refused " + code, fmt.Sprint(s.Refused[code])})
	}
	return facts(p.stdout, lines)
}
