package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"kith/api"
)

// banning is what kith ban was asked for.
type banning struct {
	report
	reason, until string
	lasts         time.Duration
	lift          bool
}

func newBan(p *program) *cobra.Command {
	var b banning
	cmd := &cobra.Command{
		Use:   "ban [PEER]",
		Short: "Keep a peer out, let it in again, or list who is kept out",
		Long: `Ban ends a peer's connections and refuses it from now on, until a time or until the ban is lifted. Another ban replaces an earlier one. Without a
peer it lists the bans that hold.`,
		Example: `  kith ban
  kith ban mallory --for 24h --reason spam
  kith ban mallory --lift`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 0:
				return p.bans(cmd.Context(), &b)
			case b.lift:
				return p.liftBan(cmd.Context(), &b, args[0])
			}
			return p.ban(cmd.Context(), &b, args[0])
		},
	}
	f := cmd.Flags()
	f.DurationVar(&b.lasts, "for", 0, "how long, such as 24h (default: until it is lifted)")
	f.StringVar(&b.until, "until", "", "until this `time`, such as 2026-12-31T12:00:00Z")
	f.StringVar(&b.reason, "reason", "", "why, for operators: a `text`")
	f.BoolVar(&b.lift, "lift", false, "let the peer in again")
	b.addList(cmd)
	cmd.MarkFlagsMutuallyExclusive("for", "until", "lift")
	return cmd
}

func (p *program) bans(ctx context.Context, b *banning) error {
	if b.lift || b.reason != "" || b.until != "" || b.lasts != 0 {
		return usagef("whom? Write the peer's id")
	}
	path, err := b.path("bans")
	if err != nil {
		return err
	}
	return printList(ctx, p, &b.report, path, url.Values{}, []column[api.Ban]{
		{"PEER", func(b *api.Ban) string { return string(b.Peer) }},
		{"UNTIL", func(b *api.Ban) string { return banEnd(b.Until) }},
		{"REASON", func(b *api.Ban) string { return orDash(b.Reason) }},
	})
}

func banEnd(ms int64) string {
	if ms == 0 {
		return "lifted"
	}
	return clock(ms)
}

func (p *program) ban(ctx context.Context, b *banning, peer string) error {
	body := api.BanBody{Reason: b.reason}
	var err error
	if body.Until, err = parseTime("--until", b.until); err != nil {
		return err
	}
	switch {
	case b.lasts < 0:
		return usagef("--for %s is not a time to come", b.lasts)
	case b.lasts > 0:
		body.Until = time.Now().Add(b.lasts).UnixMilli()
	}
	var ban api.Ban
	if err := b.call(ctx, p, http.MethodPut, body, &ban, "bans", peer); err != nil {
		return err
	}
	if b.asJSON {
		return printObject(p.stdout, ban)
	}
	_, err = fmt.Fprintf(p.stdout, "%s is banned until %s\n", printable(peer), banEnd(ban.Until))
	return err
}

func (p *program) liftBan(ctx context.Context, b *banning, peer string) error {
	if err := b.call(ctx, p, http.MethodDelete, nil, nil, "bans", peer); err != nil || b.asJSON {
		return err
	}
	_, err := fmt.Fprintf(p.stdout, "%s may connect again\n", printable(peer))
	return err
}
