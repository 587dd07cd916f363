package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"kith/api"
)

func newPeers(p *program) *cobra.Command {
	var r report
	var online bool
	var prefix string
	cmd := &cobra.Command{
		Use:   "peers [PEER]",
		Short: "List an app's peers, or show one with its devices",
		Long: `Peers lists who was ever connected, in the order of ids. With the id of a peer it shows that one: its devices, where they are connected,
whom they watch, how much waits for each, and its groups.`,
		Example: `  kith peers --online
  kith peers alice
  kith peers --prefix al --json --limit 0 | jq -r .peer`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return p.showPeer(cmd.Context(), &r, args[0])
			}
			path, err := r.path("peers")
			if err != nil {
				return err
			}
			q := url.Values{}
			setTexts(q, map[string]string{"prefix": prefix})
			if cmd.Flags().Changed("online") {
				q.Set("online", strconv.FormatBool(online))
			}
			return printList(cmd.Context(), p, &r, path, q, []column[api.Peer]{
				{"PEER", func(p *api.Peer) string { return string(p.Peer) }},
				{"ONLINE", func(p *api.Peer) string { return yesNo(p.Online) }},
				{"LAST SEEN", func(p *api.Peer) string { return clock(p.LastSeen) }},
			})
		},
	}
	cmd.Flags().BoolVar(&online, "online", false, "only those online now; --online=false: only those who are not")
	cmd.Flags().StringVar(&prefix, "prefix", "", "only those whose id starts with this `text`")
	r.addList(cmd)
	return cmd
}

func (p *program) showPeer(ctx context.Context, r *report, peer string) error {
	var status api.PeerStatus
	if err := p.show(ctx, r, &status, "peers", peer); err != nil || r.asJSON {
		return err
	}
	err := facts(p.stdout, [][2]string{
		{"peer", string(status.Peer)},
		{"online", yesNo(status.Online)},
		{"last seen", clock(status.LastSeen)},
		{"groups", joined(status.Groups)},
		{"waiting", strconv.Itoa(status.Waiting)},
	})
	if err != nil || len(status.Sessions) == 0 {
		return err
	}
	fmt.Fprintln(p.stdout) //nolint:errcheck // the table tells
	return printTable(p.stdout, status.Sessions, []column[api.Session]{
		{"DEVICE", func(s *api.Session) string { return string(s.Device) }},
		{"CONNECTED", func(s *api.Session) string { return yesNo(s.Connected) }},
		{"SINCE", func(s *api.Session) string { return clock(s.Since) }},
		{"WAITING", func(s *api.Session) string { return strconv.Itoa(s.Waiting) }},
		{"NODE", func(s *api.Session) string { return orDash(s.Node) }},
		{"ADDRESS", func(s *api.Session) string { return orDash(s.Address) }},
		{"PROTOCOL", func(s *api.Session) string { return orDash(s.Protocol) }},
		{"WATCHES", func(s *api.Session) string { return joined(s.Watch) }},
	})
}

// show reads one thing of the app into v, and prints it where JSON was asked for.
func (p *program) show(ctx context.Context, r *report, v any, parts ...string) error {
	if err := r.call(ctx, p, http.MethodGet, nil, v, parts...); err != nil || !r.asJSON {
		return err
	}
	return printObject(p.stdout, v)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
