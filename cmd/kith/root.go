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
	addGroup(root, "The server:", newServe(p), newCheck(p), newSettingsHelp(), newToken(p), newDrain(p), newBackup(p), newRestore(p))
	addGroup(root, "Clients:", newSend(p), newTail(p), newChat(p), newSign(p), newBench(p))
	addGroup(root, "What is there, and what was done:",
		newPeers(p), newGroups(p), newHistory(p), newTrace(p), newKick(p), newBan(p), newErase(p), newAudit(p), newStats(p))
	addGroup(root, "Moving:", newExport(p), newImport(p), newPull(p), newMigrate(p))
	root.AddCommand(newVersion(p))
	for _, c := range root.Commands() {
		p.begins(c)
	}
	return root
}

// addGroup adds commands that the help shows together.
func addGroup(root *cobra.Command, title string, commands ...*cobra.Command) {
	root.AddGroup(&cobra.Group{ID: title, Title: title})
	for _, c := range commands {
		c.GroupID = title
	}
	root.AddCommand(commands...)
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
