package main

import (
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"kith/api"
)

func newKick(p *program) *cobra.Command {
	var r report
	cmd := &cobra.Command{
		Use:   "kick PEER [DEVICE]",
		Short: "End a peer's connections, or one device's",
		Long: `Kick ends all connections of a peer, or that of one device. The peer may connect again at once: to keep it out see kith ban. It is no error if
nothing was connected.`,
		Example: `  kith kick alice
  kith kick alice phone`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			var kicked api.Kicked
			parts := append([]string{"peers", args[0], "sessions"}, args[1:]...)
			if err := r.call(cmd.Context(), p, http.MethodDelete, nil, &kicked, parts...); err != nil {
				return err
			}
			if r.asJSON {
				return printObject(p.stdout, kicked)
			}
			_, err := fmt.Fprintf(p.stdout, "%d connections ended\n", kicked.Kicked)
			return err
		},
	}
	r.add(cmd)
	return cmd
}
