package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/eclipse/paho.golang/paho"
	"github.com/spf13/cobra"

	"kith/broker"
)

// sending is what kith send was asked to send.
type sending struct {
	client    clientFlags
	from, to  string
	message   string
	transient bool
	id        string
}

func newSend(p *program) *cobra.Command {
	var s sending
	cmd := &cobra.Command{
		Use:   "send",
		Short: "Send one message and print its id",
		Long: `Send opens a session as --from, sends one message to --to, waits until the server has it on disk, and prints
the message's id. Nothing that waits for the sender is consumed. Without --message the message is read from stdin.`,
		Example: `  kith send --from alice --to bob --message hello
  date | kith send --from clock --to bob
  kith send --config kith.yaml --app shop --from alice --to bob --message hello
  kith send --addr mqtts://chat.example.com:8883 --key-file key.txt --app shop --from alice --to bob --message hello`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			payload := []byte(s.message)
			if !cmd.Flags().Changed("message") {
				var err error
				if payload, err = readMessage(p.stdin); err != nil {
					return err
				}
			}
			return p.send(cmd.Context(), &s, payload)
		},
	}
	f := cmd.Flags()
	f.StringVar(&s.from, "from", "", "the sending `peer`")
	f.StringVar(&s.to, "to", "", "the receiving `peer`")
	f.StringVarP(&s.message, "message", "m", "", "the `text` (default: stdin)")
	f.BoolVar(&s.transient, "transient", false, "for those online now, kept nowhere")
	f.StringVar(&s.id, "id", "", "an `id` of your own: the same one again within 10 minutes is delivered once")
	s.client.add(cmd, "send")
	markRequired(cmd, "from", "to")
	return cmd
}

// maxStdin is more than any app allows; the server has the last word.
const maxStdin = 256 << 10

func readMessage(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxStdin+1))
	if err != nil {
		return nil, fmt.Errorf("read the message: %w", err)
	}
	if len(data) > maxStdin {
		return nil, usagef("the message on stdin is over %d bytes", maxStdin)
	}
	return []byte(strings.TrimSuffix(string(data), "\n")), nil
}

const sendTimeout = 30 * time.Second

func (p *program) send(ctx context.Context, s *sending, payload []byte) error {
	to, ok := broker.ParsePeerID(s.to)
	if !ok {
		return usagef("--to %q is not a peer's id: 1–50 characters without spaces and / + # : $", s.to)
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	c, err := s.client.open(ctx, p, openOptions{
		peer: s.from, receive: "none", watch: func() []broker.PeerID { return []broker.PeerID{to} },
	})
	if err != nil {
		return err
	}
	defer c.close()
	sent, err := c.publish(ctx, to, payload, publishOptions{id: s.id, transient: s.transient})
	if err != nil {
		return fmt.Errorf("not sent: %w", err)
	}
	_, err = fmt.Fprintln(p.stdout, sent)
	return err
}

type publishOptions struct {
	id        string
	transient bool
	receipt   bool
}

// publish sends a direct message and returns, when the server has it, its id; a server that is not Kith tells none.
func (s *client) publish(ctx context.Context, to broker.PeerID, payload []byte, o publishOptions) (string, error) {
	props := &paho.PublishProperties{}
	if o.id != "" {
		props.User.Add("id", o.id)
	}
	if o.transient {
		props.User.Add("transient", "true")
	}
	if o.receipt {
		props.User.Add("receipt", "true")
	}
	resp, err := s.Publish(ctx, &paho.Publish{
		QoS: 1, Topic: fmt.Sprintf("%s/peer/%s/%s", s.app, to, s.peer), Payload: payload, Properties: props,
	})
	if err := publishError(resp, err); err != nil {
		return "", err
	}
	if resp == nil || resp.Properties == nil {
		return "", nil
	}
	return resp.Properties.User.Get("id"), nil
}
