package main

import (
	"net/url"

	"github.com/spf13/cobra"

	"kith/api"
)

func newAudit(p *program) *cobra.Command {
	var r report
	var who, action, since, until string
	var all bool
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Print who changed what over REST",
		Long: `Audit prints the log of changes made over REST, the newest first: who, what, when, from where and with what outcome. Refused changes are in it,
too. It takes the app's master key or the token of an admin; --all-apps such a token.`,
		Example: `  kith audit --limit 20
  kith audit --who ops --action ban-peer --since 2026-01-01T00:00:00Z
  kith audit --all-apps --token-file ops.token --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			path, err := r.path("audit")
			if err != nil {
				return err
			}
			if all {
				path, r.admin = "/v1/audit", true
			}
			q := url.Values{}
			setTexts(q, map[string]string{"who": who, "action": action})
			if err := setTimes(q, since, until); err != nil {
				return err
			}
			return printList(cmd.Context(), p, &r, path, q, []column[api.AuditEntry]{
				{"TIME", func(e *api.AuditEntry) string { return clock(e.TS) }},
				{"WHO", func(e *api.AuditEntry) string { return e.Kind + " " + e.Who }},
				{"ACTION", func(e *api.AuditEntry) string { return e.Action }},
				{"OUTCOME", func(e *api.AuditEntry) string { return e.Outcome }},
				{"ADDRESS", func(e *api.AuditEntry) string { return orDash(e.Address) }},
				{"PATH", func(e *api.AuditEntry) string { return e.Path }},
				{"TARGET", func(e *api.AuditEntry) string { return orDash(e.Target) }},
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&who, "who", "", "what this operator, or this app's own server, did: a `name`")
	f.StringVar(&action, "action", "", "changes of this kind: an operation's `id`, such as ban-peer")
	f.StringVar(&since, "since", "", "changes not before this `time`, such as 2026-01-31T12:00:00Z")
	f.StringVar(&until, "until", "", "changes before this `time`")
	f.BoolVar(&all, "all-apps", false, "of all apps that the operator is given")
	r.addList(cmd)
	return cmd
}
