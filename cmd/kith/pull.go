package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"kith/broker"
	"kith/cmd/kith/pull"
)

// pulling is what kith pull was asked for.
type pulling struct {
	key          keyFlags
	from         string
	conversation string
	since, until string
	o            pull.Options
}

func newPull(p *program) *cobra.Command {
	var f pulling
	cmd := &cobra.Command{
		Use:   "pull",
		Short: "Fetch history from the original service, or any server that speaks its calls",
		Long: `Pull reads an app's whole history over GET /1.1/rtm/messages/history, newest first, and writes the records to a file
for "kith import" as they come, one a line. The master key signs the requests and does not travel. Whatever ends a pull, the same command
goes on where it was; a second pull with --since fetches what came after the first.`,
		Example: `  kith pull --from https://service.example --app shop --key-file shop.key --output shop.ndjson
  kith pull --from https://service.example --app shop --key-file shop.key --output late.ndjson --since 2026-12-30T00:00:00Z`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.pull(cmd.Context(), &f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.from, "from", "", "the server's `URL`, without /1.1")
	flags.StringVarP(&f.o.Output, "output", "o", "", "the `file` to write")
	flags.StringVar(&f.o.State, "state", "", "the `file` that says how far it is (default: the output's name with .state)")
	flags.StringVar(&f.conversation, "conversation", "", "pull this conversation or group alone, by its `id`")
	flags.StringVar(&f.since, "since", "", "leave what is older than this `time`, as 2026-12-30T00:00:00Z")
	flags.StringVar(&f.until, "until", "", "leave what is not older than this `time`")
	flags.Float64Var(&f.o.Rate, "rate", 2, "`requests` a second; what else uses the service shares its limits with you")
	flags.IntVar(&f.o.Page, "page", pull.MaxPage, "`records` a request")
	flags.DurationVar(&f.o.GiveUp, "give-up", 15*time.Minute, "how long to go on trying while the server does not answer or says that it is too busy")
	f.key.add(cmd)
	markRequired(cmd, "from", "output")
	return cmd
}

// options checks what was asked for.
func (f *pulling) options(p *program) (o pull.Options, err error) {
	o = f.o
	app, err := f.key.appID()
	if err != nil {
		return o, err
	}
	o.App = string(app)
	if o.Server, err = url.Parse(f.from); err != nil || o.Server.Host == "" || o.Server.Scheme != "http" && o.Server.Scheme != "https" {
		return o, usagef("--from %q is not a URL such as https://host", f.from)
	}
	if o.Server.User != nil || o.Server.RawQuery != "" || o.Server.Fragment != "" {
		return o, usagef("--from takes the address alone")
	}
	if f.conversation != "" {
		if _, ok := broker.ParseConversationID(f.conversation); !ok {
			return o, usagef("--conversation %q is not 32 lower-case hex digits or a group's id", f.conversation)
		}
		o.Conversation = f.conversation
	}
	if o.Since, err = parseTime("--since", f.since); err != nil {
		return o, err
	}
	if o.Until, err = parseTime("--until", f.until); err != nil {
		return o, err
	}
	switch {
	case o.Page < 1 || o.Page > pull.MaxPage:
		return o, usagef("--page is 1 to %d", pull.MaxPage)
	case !(o.Rate > 0 && o.Rate <= maxPullRate):
		return o, usagef("--rate is above 0 and at most %d", maxPullRate)
	case o.GiveUp <= 0:
		return o, usagef("--give-up is a time above 0, such as 15m")
	}
	if o.State == "" {
		o.State = o.Output + ".state"
	}
	o.MasterKey, err = f.key.find(p)
	return o, err
}

// maxPullRate is what nobody would call polite any more.
const maxPullRate = 100

// parseTime reads a time of a flag as Unix milliseconds; 0 where it is not said.
func parseTime(flag, text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil || at.UnixMilli() <= 0 {
		return 0, usagef("%s %q is not a time such as 2026-12-30T00:00:00Z", flag, text)
	}
	return at.UnixMilli(), nil
}

func (p *program) pull(ctx context.Context, f *pulling) error {
	o, err := f.options(p)
	if err != nil {
		return err
	}
	line := &pullLine{p: p, last: time.Now()}
	if file, ok := p.stderr.(*os.File); ok {
		line.terminal = term.IsTerminal(int(file.Fd()))
	}
	o.Progress = line.show
	got, err := pull.Run(ctx, o)
	line.end()
	switch {
	case errors.Is(err, pull.ErrDone):
		_, err = fmt.Fprintf(p.stdout, "%s is complete: %d records; remove it and %s to pull again\n", o.Output, got.Records, o.State)
		return err
	case err != nil && got.Records > 0:
		return fmt.Errorf("%w; %s has %d records, and the same command goes on from there", err, o.Output, got.Records)
	case err != nil:
		return err
	case got.Records == 0:
		_, err = fmt.Fprintf(p.stdout, "there is nothing to pull; %s is empty\n", o.Output)
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "%d records, back to %s, in %s\n", got.Records, told(got.Oldest), o.Output)
	return err
}

func told(at time.Time) string { return at.UTC().Format(time.RFC3339) }

// pullLine shows how far a pull is: in one line of a terminal, else in a line now and then.
type pullLine struct {
	p        *program
	terminal bool
	drawn    bool      // there is a line on the terminal
	last     time.Time // of a line that is none of a terminal
}

const pullLineEvery = 10 * time.Second

func (l *pullLine) show(at pull.Progress) {
	if !l.terminal && at.Trouble == nil && time.Since(l.last) < pullLineEvery {
		return
	}
	l.last = time.Now()
	text := fmt.Sprintf("%d records", at.Records)
	if !at.Oldest.IsZero() {
		text += ", back to " + told(at.Oldest)
	}
	if at.Trouble != nil {
		text += fmt.Sprintf("; again in %s: %v", at.Wait.Round(time.Second), at.Trouble)
	}
	if l.terminal {
		_, _ = fmt.Fprintf(l.p.stderr, "\r\x1b[K%s", text) // nobody else to tell
		l.drawn = true
	} else {
		_, _ = fmt.Fprintln(l.p.stderr, text)
	}
}

// end takes the line of a terminal away.
func (l *pullLine) end() {
	if l.drawn {
		_, _ = fmt.Fprint(l.p.stderr, "\r\x1b[K")
	}
}
