package broker

import (
	"context"
	"encoding/binary"
	"strconv"
	"strings"
	"time"
)

// proof is the signed part of a CONNECT, a watch or a group request, as it was presented.
type proof struct {
	timestamp string // Unix seconds, decimal
	nonce     string
	signature string
}

func (p *proof) empty() bool { return p.timestamp == "" && p.nonce == "" && p.signature == "" }

// reuse says whether the same client may present the same signed thing again.
type reuse byte

const (
	reuseNever   reuse = iota // a request
	reuseWindow               // a SUBSCRIBE, while its timestamp holds
	reuseConnect              // a CONNECT, for signature.reuse
)

// allowed reports whether the app lets it.
func (r reuse) allowed(cfg *AppConfig) bool {
	return r != reuseNever && cfg.Signature.Replay == ReplayWindow
}

// checkForm refuses what cannot be a timestamp or a nonce (4114), before any signature is compared.
func (p *proof) checkForm() (seconds int64, err *Error) {
	seconds, perr := strconv.ParseInt(p.timestamp, 10, 64)
	if perr != nil || seconds < 0 || strconv.FormatInt(seconds, 10) != p.timestamp || seconds > 1<<40 {
		return 0, Errorf(Malformed, "timestamp is Unix seconds, decimal, without sign or leading zero")
	}
	switch p.nonce {
	case superMark, ActionJoin, ActionInvite, ActionKick:
		return 0, Errorf(Malformed, "nonce may not be %q", p.nonce)
	}
	if !isName(p.nonce) {
		return 0, Errorf(Malformed, "nonce is 1-64 of A-Z a-z 0-9 _ . -")
	}
	return seconds, nil
}

// verify checks form, signature, time and nonce of p over text, which client does for operation op (spec 2). It writes the nonce
// before it returns nil, so that it stays used across restarts.
func (b *Broker) verify(ctx context.Context, a *app, p *proof, text string, peer PeerID, client, op string, again reuse) error {
	if p.empty() {
		return Errorf(SignatureFailed, "this app requires a signature: timestamp, nonce and signature")
	}
	seconds, ferr := p.checkForm()
	if ferr != nil {
		return ferr
	}
	cfg := a.cfg.Load()
	if !validSignature(cfg, text, p.signature) {
		return Errorf(SignatureFailed, "the signature does not match; check the master key, the peer id, and that lists are sorted bytewise")
	}
	now := b.now()
	signed := time.Unix(seconds, 0)
	fresh := now.Sub(signed).Abs() <= cfg.Signature.Window
	if again == reuseConnect && again.allowed(cfg) && !fresh {
		if signed.After(now) || now.Sub(signed) > cfg.Signature.Reuse {
			return errStale(cfg)
		}
	} else if !fresh {
		return errStale(cfg)
	}
	return b.useNonce(ctx, a, p, seconds, peer, client+"\x00"+op+"\x00"+p.signature, fresh, again)
}

// HistoryProof is what lets a peer read one conversation's history without a session: HMAC with the app's master key over
// app_id:peer_id:conversation:nonce:timestamp.
type HistoryProof struct {
	Peer         PeerID
	Conversation ConversationID
	Timestamp    string // Unix seconds, decimal
	Nonce        string
	Signature    string // lower-case hex
}

// CheckHistory refuses a proof that is malformed (4114), wrong or stale (4102). The nonce is not used up: to read again gives nothing
// that reading once did not.
func (b *Broker) CheckHistory(app AppID, h HistoryProof) error {
	a, err := b.app(app)
	if err != nil {
		return err
	}
	p := proof{h.Timestamp, h.Nonce, h.Signature}
	seconds, ferr := p.checkForm()
	if ferr != nil {
		return ferr
	}
	cfg := a.cfg.Load()
	text := strings.Join([]string{string(app), string(h.Peer), string(h.Conversation), h.Nonce, h.Timestamp}, ":")
	if !validSignature(cfg, text, h.Signature) {
		return Errorf(SignatureFailed, "the signature does not match; it is over app_id:peer_id:conversation:nonce:timestamp")
	}
	if b.now().Sub(time.Unix(seconds, 0)).Abs() > cfg.Signature.Window {
		return errStale(cfg)
	}
	return nil
}

func errStale(cfg *AppConfig) *Error {
	return Errorf(SignatureFailed, "the timestamp is not within %s of the server's clock", cfg.Signature.Window)
}

// useNonce binds the nonce to use, a client, operation and signature; who holds it already must be the same. A nonce that is not
// fresh must have been used before.
func (b *Broker) useNonce(ctx context.Context, a *app, p *proof, seconds int64, peer PeerID, use string, fresh bool, again reuse) error {
	cfg := a.cfg.Load()
	key := Key{Space: SpaceNonce, App: a.id, Owner: p.nonce}
	now := b.now().UnixMilli()
	var held []byte
	if fresh {
		keep := max(cfg.Signature.Window, cfg.Signature.Reuse) + cfg.Signature.Window
		w := Write{
			Key: key, If: IfAbsent, Value: append(binary.BigEndian.AppendUint64(nil, uint64(now)), use...),
			Expires: seconds*1000 + keep.Milliseconds(),
		}
		batch, err := b.commit(ctx, &Batch{Writes: []Write{w}})
		if err != nil {
			return err
		}
		if !batch.Writes[0].Conflict {
			return nil
		}
		held = batch.Writes[0].Current
	} else {
		values, err := b.store.Get(ctx, []Key{key})
		if err != nil {
			return err
		}
		held = values[0]
	}
	if len(held) < 8 || string(held[8:]) != use || !again.allowed(cfg) {
		return Errorf(SignatureFailed, "the nonce was used before; make a new one for each signature")
	}
	kicked, err := b.store.Get(ctx, []Key{kickedKey(a.id, peer)})
	if err != nil {
		return err
	}
	if len(kicked[0]) == 8 && binary.BigEndian.Uint64(kicked[0]) >= binary.BigEndian.Uint64(held) {
		return Errorf(SignatureFailed, "the peer was kicked or banned since this was first shown; sign again")
	}
	return nil
}

// kickedKey holds when a peer, or one of its devices, was last kicked or banned, in Unix milliseconds.
func kickedKey(app AppID, peer PeerID) Key {
	return Key{Space: SpacePeer, App: app, Owner: string(peer), Name: "kicked"}
}
