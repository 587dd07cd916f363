package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newRoot(p *program) *cobra.Command {
	root := &cobra.Command{
		Use:   "kith",
		Short: "A self-hosted real-time messaging platform for any MQTT client",
		Long: `Kith is a self-hosted real-time messaging platform that any stock MQTT client can use:
peers, presence, direct messages, offline queues, receipts, history over REST.

"kith serve" starts it, with no settings at all if you like, and tells what to do next.

Exit codes: 0 done; 1 it did not work; 2 wrong arguments or settings.`,
		Example: `  kith serve
  kith chat --peer alice --watch bob`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())
	})
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(
		newServe(p), newCheck(p), newDrain(p),
		newSign(p), newSend(p), newTail(p), newChat(p), newBench(p),
		newExport(p), newImport(p), newPull(p), newErase(p),
		newBackup(p), newRestore(p),
		newSettingsHelp(), newToken(p), newVersion(p),
	)
	for _, c := range root.Commands() {
		p.begins(c)
	}
	return root
}

// begins notes when a command does, so that what failed before is known as wrong use.
func (p *program) begins(c *cobra.Command) {
	if work := c.RunE; work != nil {
		c.RunE = func(cmd *cobra.Command, args []string) error {
			p.began = true
			return work(cmd, args)
		}
	}
}
