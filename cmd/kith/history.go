package main

import (
	"encoding/base64"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"kith/api"
)

func newHistory(p *program) *cobra.Command {
	var r report
	var peer, from, group, conversation, since, until, order string
	var between []string
	cmd := &cobra.Command{
		Use:   "history",
		Short: "Print messages that were sent",
		Long: `History prints persistent messages, the newest first: of one peer, of a conversation, of a group, or of the whole app. It reads what is kept;
to follow what comes see kith tail, to take all of it elsewhere kith export.`,
		Example: `  kith history --limit 20
  kith history --between alice,bob --since 2026-01-01T00:00:00Z
  kith history --group team --order asc --limit 0 --json > team.ndjson`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			path, err := r.path("messages")
			if err != nil {
				return err
			}
			q := url.Values{}
			setTexts(q, map[string]string{
				"peer": peer, "from": from, "group": group, "conversation": conversation, "order": order, "peers": strings.Join(between, ","),
			})
			if err := setTimes(q, since, until); err != nil {
				return err
			}
			return printList(cmd.Context(), p, &r, path, q, []column[api.Message]{
				{"TIME", func(m *api.Message) string { return clock(m.TS) }},
				{"ID", func(m *api.Message) string { return m.ID.String() }},
				{"FROM", func(m *api.Message) string { return string(m.From) }},
				{"TO", addressed},
				{"MESSAGE", content},
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&peer, "peer", "", "direct messages that this `peer` sent or received, and what it sent to groups")
	f.StringVar(&from, "from", "", "messages that this `peer` sent")
	f.StringSliceVar(&between, "between", nil, "messages between exactly these `peers`")
	f.StringVar(&group, "group", "", "messages to this `group`")
	f.StringVar(&conversation, "conversation", "", "messages of this conversation: an `id`")
	f.StringVar(&since, "since", "", "messages not before this `time`, such as 2026-01-31T12:00:00Z")
	f.StringVar(&until, "until", "", "messages before this `time`")
	f.StringVar(&order, "order", "", "desc: the newest first; asc: the oldest (default desc)")
	r.addList(cmd)
	return cmd
}

// addressed is whom a message went to.
func addressed(m *api.Message) string {
	if m.Group != "" {
		return "group " + string(m.Group)
	}
	return joined(m.To)
}

// content is a message's text; of what is not text, the beginning in base64.
func content(m *api.Message) string {
	if m.Message != nil {
		return *m.Message
	}
	const shown = 48 // bytes
	text := "base64 " + base64.StdEncoding.EncodeToString(m.Data[:min(len(m.Data), shown)])
	if len(m.Data) > shown {
		text += "…"
	}
	return text
}
