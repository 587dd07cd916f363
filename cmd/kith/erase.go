package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"kith/api"
	"kith/broker"
)

// erasing is what kith erase was asked for.
type erasing struct {
	rest    restFlags
	confirm bool
	json    bool
}

func newErase(p *program) *cobra.Command {
	var e erasing
	cmd := &cobra.Command{
		Use:   "erase PEER",
		Short: "Remove a peer and all that it sent",
		Long: `Erase ends a peer's connections and removes its queue, memberships, devices and all that it sent, from history and from
what still waits for others. What others sent to it stays theirs; a ban stays. It cannot be undone: --yes says that it is meant. The
receipt tells what was removed. To keep a copy, run kith export --peer first.`,
		Example: `  kith export --peer alice --out alice.ndjson
  kith erase alice --yes
  kith erase alice --yes --json --config kith.yaml --app shop > receipt.json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return p.erase(cmd.Context(), &e, args[0]) },
	}
	f := cmd.Flags()
	f.BoolVar(&e.confirm, "yes", false, "really erase")
	f.BoolVar(&e.json, "json", false, "write the receipt as JSON")
	e.rest.add(cmd)
	return cmd
}

func (p *program) erase(ctx context.Context, e *erasing, name string) error {
	app, err := e.rest.key.appID()
	if err != nil {
		return err
	}
	peer, ok := broker.ParsePeerID(name)
	if !ok {
		return usagef("%q is not a peer id", name)
	}
	if !e.confirm {
		return usagef("all that %s sent is removed for good: say --yes if that is meant", peer)
	}
	c, err := e.rest.open(p)
	if err != nil {
		return err
	}
	var r api.Erased
	if err := c.call(ctx, http.MethodDelete, "/v1/apps/"+string(app)+"/peers/"+url.PathEscape(string(peer)), nil, &r); err != nil {
		return err
	}
	if e.json {
		return json.NewEncoder(p.stdout).Encode(r)
	}
	_, err = fmt.Fprintf(p.stdout, "%s is erased: %d messages that it sent, %d that waited for it, %d events, %d groups, %d devices, %d connections\n",
		r.Peer, r.Messages, r.Waiting, r.Events, r.Groups, r.Devices, r.Sessions)
	return err
}
