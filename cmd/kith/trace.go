package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"kith/api"
	"kith/broker"
)

func newTrace(p *program) *cobra.Command {
	var r report
	cmd := &cobra.Command{
		Use:   "trace MESSAGE",
		Short: "Show what became of a message at each receiver and device",
		Long: `Trace answers "did she get it?": when a message was accepted, and when it was sent to each device of its receivers and acknowledged by it. The
message's id is printed by kith send and kith history, and told to senders. Times are kept for the app's queue.age; transient messages have
no trace. What happened within the last second may be missing.`,
		Example: `  kith trace 054s30bo800000000000
  kith trace 054s30bo800000000000 --json | jq -r '.items[] | select(.state == "waiting") | .peer'`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return p.trace(cmd.Context(), &r, args[0]) },
	}
	r.add(cmd)
	return cmd
}

func (p *program) trace(ctx context.Context, r *report, id string) error {
	path, err := r.path("messages", id, "trace")
	if err != nil {
		return err
	}
	c, err := r.open(p)
	if err != nil {
		return err
	}
	q := url.Values{"limit": {strconv.Itoa(maxPage)}}
	for first := true; ; first = false {
		var t api.Trace
		if err := c.call(ctx, http.MethodGet, path+"?"+q.Encode(), nil, &t); err != nil {
			return err
		}
		if err := p.printTrace(r, &t, first); err != nil || t.Next == "" {
			return err
		}
		q.Set("cursor", t.Next)
	}
}

// tracedDevice is a line of the table: a receiver with one of its devices, or without.
type tracedDevice struct {
	peer   broker.PeerID
	device api.DeviceTrace
}

func (p *program) printTrace(r *report, t *api.Trace, first bool) error {
	if r.asJSON {
		return printObject(p.stdout, t)
	}
	if first {
		to := "its receivers"
		if t.Group != "" {
			to = "group " + string(t.Group)
		}
		if _, err := fmt.Fprintf(p.stdout, "%s from %s to %s, accepted %s\n\n", t.ID, printable(string(t.From)), printable(to), clockMS(t.Accepted)); err != nil {
			return err
		}
	}
	var lines []tracedDevice
	for _, i := range t.Items {
		if len(i.Devices) == 0 {
			lines = append(lines, tracedDevice{i.Peer, api.DeviceTrace{State: i.State}})
		}
		for _, d := range i.Devices {
			lines = append(lines, tracedDevice{i.Peer, d})
		}
	}
	return printTable(p.stdout, lines, []column[tracedDevice]{
		{"PEER", func(l *tracedDevice) string { return string(l.peer) }},
		{"DEVICE", func(l *tracedDevice) string { return orDash(string(l.device.Device)) }},
		{"CONNECTED", func(l *tracedDevice) string { return yesNo(l.device.Connected) }},
		{"STATE", func(l *tracedDevice) string { return l.device.State }},
		{"SENT", func(l *tracedDevice) string { return clockMS(l.device.Sent) }},
		{"ACKNOWLEDGED", func(l *tracedDevice) string { return clockMS(l.device.Acknowledged) }},
	})
}
