package main

import (
	"context"
	"fmt"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"kith/api"
)

func newGroups(p *program) *cobra.Command {
	var r report
	var members bool
	cmd := &cobra.Command{
		Use:   "groups [GROUP]",
		Short: "List an app's groups, or show one with its members",
		Long: `Groups lists the groups in the order of their ids. With the id of a group it shows that one and, where it is not an open group, its members; --members
prints them alone, as a list.`,
		Example: `  kith groups
  kith groups team
  kith groups team --members --limit 0 --json | jq -r .peer`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 0 && members:
				return usagef("--members of which group? Write its id")
			case len(args) == 0:
				return p.groups(cmd.Context(), &r)
			case members:
				return p.members(cmd.Context(), &r, args[0])
			}
			return p.showGroup(cmd.Context(), &r, args[0])
		},
	}
	cmd.Flags().BoolVar(&members, "members", false, "the group's members alone")
	r.addList(cmd)
	return cmd
}

func (p *program) groups(ctx context.Context, r *report) error {
	path, err := r.path("groups")
	if err != nil {
		return err
	}
	return printList(ctx, p, r, path, url.Values{}, []column[api.Group]{
		{"GROUP", func(g *api.Group) string { return string(g.Group) }},
		{"NAME", func(g *api.Group) string { return orDash(g.Name) }},
		{"OPEN", func(g *api.Group) string { return yesNo(g.Open) }},
		{"MEMBERS", func(g *api.Group) string { return strconv.Itoa(g.Members) }},
		{"CREATOR", func(g *api.Group) string { return orDash(string(g.Creator)) }},
		{"CREATED", func(g *api.Group) string { return clock(g.Created) }},
	})
}

func (p *program) showGroup(ctx context.Context, r *report, id string) error {
	var g api.Group
	if err := p.show(ctx, r, &g, "groups", id); err != nil || r.asJSON {
		return err
	}
	err := facts(p.stdout, [][2]string{
		{"group", string(g.Group)},
		{"name", orDash(g.Name)},
		{"open", yesNo(g.Open)},
		{"members", strconv.Itoa(g.Members)},
		{"creator", orDash(string(g.Creator))},
		{"created", clock(g.Created)},
		{"attributes", string(g.Attributes.RawMessage)},
	})
	if err != nil || g.Open {
		return err
	}
	fmt.Fprintln(p.stdout) //nolint:errcheck // the table tells
	return p.members(ctx, r, id)
}

func (p *program) members(ctx context.Context, r *report, group string) error {
	path, err := r.path("groups", group, "members")
	if err != nil {
		return err
	}
	return printList(ctx, p, r, path, url.Values{}, []column[api.Member]{
		{"PEER", func(m *api.Member) string { return string(m.Peer) }},
		{"JOINED", func(m *api.Member) string { return clock(m.Joined) }},
	})
}
