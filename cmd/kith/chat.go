package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"kith/broker"
)

func newChat(p *program) *cobra.Command {
	var flags clientFlags
	var peer string
	var watch []string
	cmd := &cobra.Command{
		Use:   "chat",
		Short: "Talk with another peer in the terminal",
		Long: `Chat is a conversation: what you type goes to the first peer of --watch, what others write is shown, and so is who
comes and goes and which of your messages were received. It reconnects by itself and sends then what you typed meanwhile.

  /to <peer>   write to another peer, and watch it
  /help        tell the commands
  /quit        leave (also Ctrl-D or Ctrl-C)
  //text       sends /text`,
		Example: `  kith chat --peer alice --watch bob         in one terminal
  kith chat --peer bob --watch alice         in another
  kith chat --config kith.yaml --app shop --addr wss://chat.example.com/mqtt --peer alice --watch bob,carol`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			peers, err := parsePeers("--watch", watch)
			if err != nil {
				return err
			}
			if len(peers) == 0 {
				return usagef("--watch names nobody to talk with")
			}
			return p.chat(cmd.Context(), &flags, peer, peers)
		},
	}
	f := cmd.Flags()
	f.StringVar(&peer, "peer", "", "the `peer` that you are")
	f.StringSliceVar(&watch, "watch", nil, "`peers` to talk with; what you type goes to the first")
	flags.add(cmd, "chat")
	markRequired(cmd, "peer", "watch")
	return cmd
}

// conversation is one kith chat under way.
type conversation struct {
	client *client
	out    io.Writer
	outbox chan outgoing

	mu    sync.Mutex
	self  broker.PeerID
	to    broker.PeerID
	watch []broker.PeerID
	sent  []delivered // the latest, for receipts
	early []delivered // receipts that came before the acknowledgement of their message, each with its receiver
}

// outgoing is a line that waits to be sent.
type outgoing struct {
	to   broker.PeerID
	text string
}

// delivered is a line that the server has, by its message id.
type delivered struct{ id, text string }

const (
	outboxSize   = 100 // lines typed while there is no connection
	sentKept     = 100
	drainTimeout = 10 * time.Second // for what was typed before the end
)

func (p *program) chat(ctx context.Context, flags *clientFlags, peer string, watch []broker.PeerID) error {
	terminal, err := openLines(p.stdin, p.stdout, "> ")
	if err != nil {
		return err
	}
	defer terminal.restore()
	c := &conversation{out: terminal, outbox: make(chan outgoing, outboxSize), self: broker.PeerID(peer), to: watch[0], watch: watch}
	c.client, err = flags.open(ctx, p, openOptions{
		peer: peer, keep: true, watch: c.watched, arrived: c.show,
		up:   func() { c.say("* connected as %s; writing to %s; /help tells more", peer, c.receiver()) },
		down: func() { c.say("* connection lost; what you type is sent when it is back") },
	})
	if err != nil {
		return err
	}
	defer c.client.close()
	return c.run(ctx, terminal)
}

// run sends what is typed until the end of input, /quit, the end of ctx or a final refusal.
func (c *conversation) run(ctx context.Context, terminal *lines) error {
	typed := make(chan string)
	ended := make(chan error, 1)
	go func() { // not waited for: a blocked read of a terminal cannot be ended
		for {
			line, err := terminal.read()
			if err != nil {
				ended <- err
				return
			}
			select {
			case typed <- line:
			case <-ctx.Done():
				return
			}
		}
	}()
	sendCtx, stop := context.WithCancel(ctx)
	defer stop()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		for m := range c.outbox {
			c.send(sendCtx, m)
		}
	}()
	var err error
	for quit := false; !quit; {
		select {
		case line := <-typed:
			quit = c.typed(ctx, line)
		case err = <-ended:
			quit = true
		case err = <-c.client.ended:
			quit = true
			stop()
		case <-ctx.Done():
			quit = true
		}
	}
	close(c.outbox)
	select {
	case <-drained:
	case <-time.After(drainTimeout):
		stop()
		<-drained
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// typed handles one line and reports whether it was the last.
func (c *conversation) typed(ctx context.Context, line string) (quit bool) {
	line = strings.TrimSpace(line)
	command, argument, _ := strings.Cut(line, " ")
	switch {
	case line == "":
	case strings.HasPrefix(line, "//"):
		c.enqueue(line[1:])
	case command == "/quit":
		return true
	case command == "/help":
		c.say("* type a line to send it; /to <peer> writes to another; /quit leaves; //text sends /text")
	case command == "/to":
		c.turnTo(ctx, strings.TrimSpace(argument))
	case strings.HasPrefix(line, "/"):
		c.say("! no command %s; /help tells them, and //text sends /text", printable(command))
	default:
		c.enqueue(line)
	}
	return false
}

func (c *conversation) enqueue(text string) {
	select {
	case c.outbox <- outgoing{c.receiver(), text}:
	default:
		c.say("! not sent: %d lines wait for the connection already", outboxSize)
	}
}

// send tries until the server has the message or refuses it. It always presents the same id, so that a message whose
// acknowledgement was lost with the connection is delivered once.
func (c *conversation) send(ctx context.Context, m outgoing) {
	id := newNonce()
	for ctx.Err() == nil {
		if c.client.AwaitConnection(ctx) != nil {
			break
		}
		sent, err := c.client.publish(ctx, m.to, []byte(m.text), publishOptions{id: id, receipt: true})
		if err == nil {
			c.remember(delivered{sent, m.text})
			return
		}
		if why, refused := errors.AsType[refusal](err); refused {
			c.say("! not sent to %s: %s", m.to, printable(string(why)))
			return
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	c.say("! not sent to %s: %s", m.to, printable(m.text))
}

func (c *conversation) receiver() broker.PeerID {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.to
}

func (c *conversation) watched() []broker.PeerID {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.watch)
}

// say writes a line of its own.
func (c *conversation) say(format string, args ...any) {
	_, _ = fmt.Fprintf(c.out, format+"\n", args...) // a terminal that is gone ends the reading too
}
