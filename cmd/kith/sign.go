package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"kith/broker"
)

const actionWatch = "watch"

// signing is what kith sign was asked to sign.
type signing struct {
	key       keyFlags
	peer      string
	watch     []string
	super     bool
	action    string
	group     string
	peers     []string
	timestamp int64
	nonce     string
}

func newSign(p *program) *cobra.Command {
	var s signing
	cmd := &cobra.Command{
		Use:   "sign",
		Short: "Sign for a peer: a CONNECT password, or the fields of a request",
		Long: `Sign does what your own server does for its clients: it prints JSON that holds a signature made with the app's
master key. Without --action that is a password for CONNECT; with one, fields to merge into that request.

The key comes from the settings (--config), from a file (--key-file) or from KITH_MASTER_KEY.`,
		Example: `  kith sign --peer alice --watch bob
  mosquitto_sub -i bob -u demo -P "$(kith sign --peer bob)" -t demo/peer/bob/+ -q 1
  kith sign --config kith.yaml --app shop --peer alice --watch bob,carol
  kith sign --peer monitor --super
  kith sign --peer alice --action watch --peers bob
  kith sign --peer alice --action invite --group team --peers bob,carol
  kith sign --peer alice --action join                  (creates a group)`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fields, err := s.sign(p, cmd.Flags().Changed("watch"))
			if err != nil {
				return err
			}
			text, err := json.Marshal(fields)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(p.stdout, "%s\n", text)
			return err
		},
	}
	s.key.add(cmd)
	f := cmd.Flags()
	f.StringVar(&s.peer, "peer", "", "the `peer` who will present it")
	f.StringSliceVar(&s.watch, "watch", nil, "`peers` to watch from the start")
	f.BoolVar(&s.super, "super", false, "a super peer: it may send to anyone unwatched")
	f.StringVar(&s.action, "action", "", "for a request: watch, join, invite or kick")
	f.StringVar(&s.group, "group", "", "the group's `id`, with --action; none with join: create one")
	f.StringSliceVar(&s.peers, "peers", nil, "the request's `peers`, with --action watch, invite or kick")
	f.Int64Var(&s.timestamp, "timestamp", 0, "in Unix `seconds` (default: now)")
	f.StringVar(&s.nonce, "nonce", "", "a `word` never used before (default: a random one)")
	markRequired(cmd, "peer")
	return cmd
}

// signed is a CONNECT password or the signed fields of a request (spec 2, 6).
type signed struct {
	Timestamp int64            `json:"timestamp"`
	Nonce     string           `json:"nonce"`
	Signature string           `json:"signature"`
	Watch     *[]broker.PeerID `json:"watch,omitempty"`
	Super     bool             `json:"super,omitempty"`
	Group     broker.GroupID   `json:"group,omitempty"`
	Peers     []broker.PeerID  `json:"peers,omitempty"`
}

func (s *signing) sign(p *program, watchGiven bool) (signed, error) {
	app, err := s.key.appID()
	if err != nil {
		return signed{}, err
	}
	peer, ok := broker.ParsePeerID(s.peer)
	if !ok {
		return signed{}, usagef("--peer %q is not a peer's id: 1–50 characters without spaces and / + # : $", s.peer)
	}
	watch, err := parsePeers("--watch", s.watch)
	if err != nil {
		return signed{}, err
	}
	peers, err := parsePeers("--peers", s.peers)
	if err != nil {
		return signed{}, err
	}
	if err := s.fits(); err != nil {
		return signed{}, err
	}
	out := signed{Timestamp: s.timestamp, Nonce: s.nonce, Super: s.super}
	if out.Timestamp == 0 {
		out.Timestamp = time.Now().Unix()
	}
	if out.Nonce == "" {
		out.Nonce = newNonce()
	}
	key, err := s.key.find(p)
	if err != nil {
		return signed{}, err
	}
	switch s.action {
	case "":
		if watchGiven {
			out.Watch = &watch
		}
		out.Signature = broker.SignOpen(key, app, peer, watch, out.Timestamp, out.Nonce, s.super)
	case actionWatch:
		out.Peers = peers
		out.Signature = broker.SignOpen(key, app, peer, peers, out.Timestamp, out.Nonce, false)
	default:
		out.Group, out.Peers = broker.GroupID(s.group), peers
		out.Signature = broker.SignGroup(key, app, peer, out.Group, peers, out.Timestamp, out.Nonce, s.action)
	}
	return out, nil
}

// fits checks the flags against each other and the forms of spec 1 and 2.
func (s *signing) fits() error {
	group := s.action == broker.ActionJoin || s.action == broker.ActionInvite || s.action == broker.ActionKick
	reserved := []string{"su", broker.ActionJoin, broker.ActionInvite, broker.ActionKick}
	_, named := broker.ParseAppID(s.nonce) // a nonce has an app id's form
	_, grouped := broker.ParseGroupID(s.group)
	switch {
	case s.action != "" && s.action != actionWatch && !group:
		return usagef("--action %q is not watch, join, invite or kick", s.action)
	case s.action != "" && (s.super || len(s.watch) > 0):
		return usagef("--watch and --super are for CONNECT; --action %s takes --peers", s.action)
	case s.action == "" && (s.group != "" || len(s.peers) > 0):
		return usagef("--group and --peers need an --action")
	case s.action == broker.ActionJoin && len(s.peers) > 0:
		return usagef("--action join takes no --peers")
	case s.action != "" && s.action != broker.ActionJoin && len(s.peers) == 0:
		return usagef("--action %s needs --peers", s.action)
	case group && s.action != broker.ActionJoin && s.group == "":
		return usagef("--action %s needs --group", s.action)
	case s.action == actionWatch && s.group != "":
		return usagef("--action watch takes no --group")
	case s.group != "" && !grouped:
		return usagef("--group %q is not 1–64 of A–Z a–z 0–9 _ . - (32 hex digits are a conversation)", s.group)
	case s.timestamp < 0:
		return usagef("--timestamp is in Unix seconds, after 1970")
	case s.nonce != "" && (!named || slices.Contains(reserved, s.nonce)):
		return usagef("--nonce is 1–64 of A–Z a–z 0–9 _ . - and not su, join, invite or kick")
	}
	return nil
}

func newNonce() string { return rand.Text()[:20] }

// parsePeers checks a list of peers, none of them twice.
func parsePeers(flag string, ids []string) ([]broker.PeerID, error) {
	peers := make([]broker.PeerID, 0, len(ids))
	for _, id := range ids {
		peer, ok := broker.ParsePeerID(id)
		if !ok {
			return nil, usagef("%s: %q is not a peer's id: 1–50 characters without spaces and / + # : $", flag, id)
		}
		if slices.Contains(peers, peer) {
			return nil, usagef("%s: %s stands there twice", flag, id)
		}
		peers = append(peers, peer)
	}
	return peers, nil
}

// markRequired makes a flag of this command required.
func markRequired(cmd *cobra.Command, names ...string) {
	for _, name := range names {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // no such flag: a slip in this package
		}
	}
}
