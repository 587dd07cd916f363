package bench

import (
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"kith/broker"
)

// Target is the server to load, and as whom.
type Target struct {
	Addr      string      // host:port
	TLS       *tls.Config // nil: plain TCP
	WebSocket string      // the URL, ws or wss; empty: MQTT over TCP or TLS
	App       broker.AppID
	Key       string       // the app's master key; empty: nothing is signed
	Version   byte         // of MQTT: 4 (3.1.1) or 5
	Sources   []netip.Addr // local addresses to connect from, in turn; none: the system chooses
	Prefix    string       // what the peers' ids begin with
}

// maxWatch is how many peers a CONNECT may watch, and an invite name, in an app with the default settings.
const maxWatch = 100

func (t *Target) peer(kind string, i int) broker.PeerID {
	return broker.PeerID(fmt.Sprintf("%s-%s%d", t.Prefix, kind, i))
}

// proof is a signature with what it is over beside the ids (spec 2).
type proof struct {
	Timestamp int64  `json:"timestamp"`
	Nonce     string `json:"nonce"`
	Signature string `json:"signature"`
}

func newProof() *proof { return &proof{Timestamp: time.Now().Unix(), Nonce: rand.Text()[:20]} }

// receiveNone is for who sends and manages alone.
const receiveNone = "none"

// password is the password of a CONNECT, newly signed where there is a key; empty where it would say nothing.
func (t *Target) password(peer broker.PeerID, watch []broker.PeerID, receive string) []byte {
	if t.Key == "" && len(watch) == 0 && receive == "" {
		return nil
	}
	fields := struct {
		*proof
		Watch   []broker.PeerID `json:"watch,omitempty"`
		Receive string          `json:"receive,omitempty"`
	}{Watch: watch, Receive: receive}
	if t.Key != "" {
		fields.proof = newProof()
		fields.Signature = broker.SignOpen(t.Key, t.App, peer, watch, fields.Timestamp, fields.Nonce, false)
	}
	text, err := json.Marshal(fields)
	if err != nil {
		panic("bench: " + err.Error()) // a type of this package
	}
	return text
}

// groupProof signs a group request, where there is a key.
func (t *Target) groupProof(peer broker.PeerID, group broker.GroupID, peers []broker.PeerID, action string) *proof {
	if t.Key == "" {
		return nil
	}
	p := newProof()
	p.Signature = broker.SignGroup(t.Key, t.App, peer, group, peers, p.Timestamp, p.Nonce, action)
	return p
}

// RefusedError is the server's No to a CONNECT or a publish.
type RefusedError struct {
	What   string // that was refused
	Code   byte   // MQTT's reason code
	Reason string // in words, where the server gave them
}

func (e *RefusedError) Error() string {
	reason := e.Reason
	if reason == "" {
		reason = fmt.Sprintf("reason code 0x%02X", e.Code)
	}
	switch {
	case strings.HasPrefix(reason, "4116"):
		reason += "\nThe app bounds what one session sends. Measure an app whose rate.messages_per_second is 0, or keep below it with --rate"
	case strings.HasPrefix(reason, "4102") || e.Code == 0x87 && e.What == whatLogin:
		reason += "\nA signed app needs its master key: give --config or --key-file, or set KITH_MASTER_KEY"
	case strings.HasPrefix(reason, "4100"):
		reason += "\nIs --app right?"
	}
	return fmt.Sprintf("the server refused a %s: %s", e.What, reason)
}

const (
	whatLogin   = "login"
	whatMessage = "message"
	whatRequest = "request"
)
