package main

import (
	"encoding/json"
	"fmt"
	"os"
	"text/tabwriter"

	"kith/cmd/torture/load"
)

// event is a fault that was done.
type event struct {
	At    float64 `json:"at_s"`
	Fault string  `json:"fault"`
	What  string  `json:"what"`
}

// result is what a run found.
type result struct {
	Seed   uint64         `json:"seed"`
	Engine string         `json:"engine"`
	Nodes  int            `json:"nodes"`
	Rate   float64        `json:"rate"`
	Time   string         `json:"time"`
	Faults map[string]int `json:"faults"`
	Ends   int            `json:"nodes_ended_by_themselves"`
	Broken int            `json:"broken"`
	Counts *load.Report   `json:"counts"`
	Events []event        `json:"events"`
}

// tell prints the table and the JSON; it returns an error when a promise was not kept.
func (s *scene) tell(r *load.Report, done []event) error {
	out := result{
		Seed: s.o.seed, Engine: string(s.o.engine), Nodes: s.o.nodes, Rate: s.o.rate, Time: s.o.time.String(),
		Faults: map[string]int{}, Broken: r.Broken(), Counts: r, Events: done,
	}
	for _, e := range done {
		out.Faults[e.Fault]++
	}
	for _, n := range s.Nodes {
		out.Ends += n.Ends()
	}
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', tabwriter.AlignRight)
	for _, row := range []struct {
		name string
		n    int
	}{
		{"acknowledged", r.Acked}, {"refused", r.Refused}, {"due", r.Due}, {"delivered", r.Delivered}, {"waiting", r.Waiting},
		{"missed", r.Missed}, {"redelivered", r.Redelivered}, {"unanswered", r.Unanswered}, {"lost", r.Lost},
		{"duplicated", r.Duplicated}, {"out of order", r.Disordered}, {"misdelivered", r.Misdelivered},
		{"lost in history", r.Unrecorded}, {"twice in history", r.Repeated}, {"presence wrong", r.Presence}, {"other faults", r.Faulty},
	} {
		_, _ = fmt.Fprintf(t, "%s\t%d\t\n", row.name, row.n) // into memory
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, line := range s.Trouble() {
		out.Broken++
		fmt.Println("  ", line)
	}
	for _, e := range r.Examples {
		fmt.Println("  ", e)
	}
	text, err := json.Marshal(out)
	if err != nil {
		return err
	}
	fmt.Println(string(text))
	if s.o.out != "" {
		if err := os.WriteFile(s.o.out, append(text, '\n'), 0o600); err != nil {
			return err
		}
	}
	if out.Broken > 0 {
		return fmt.Errorf("seed %d: %d promises were not kept", s.o.seed, out.Broken)
	}
	return nil
}
