package broker

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // HMAC-SHA1 is the signature of spec 2
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"hash"
	"slices"
	"strconv"
	"strings"
)

// Group actions that take a signature (spec 6).
const (
	ActionJoin   = "join"
	ActionInvite = "invite"
	ActionKick   = "kick"
)

const superMark = "su"

// SignOpen returns the signature, HMAC-SHA1 in lower-case hex, of a CONNECT or a watch request (spec 2, 4). The order
// of watch does not matter. timestamp is in Unix seconds.
func SignOpen(key string, app AppID, peer PeerID, watch []PeerID, timestamp int64, nonce string, super bool) string {
	return signHex(sha1.New, key, openText(app, peer, joinSorted(watch), strconv.FormatInt(timestamp, 10), nonce, super))
}

// SignGroup returns the signature, HMAC-SHA1 in lower-case hex, of a group action (spec 6). To create a group, group
// is empty and action ActionJoin; to join, peers is empty. timestamp is in Unix seconds.
func SignGroup(key string, app AppID, peer PeerID, group GroupID, peers []PeerID, timestamp int64, nonce, action string) string {
	return signHex(sha1.New, key, groupText(app, peer, group, peers, strconv.FormatInt(timestamp, 10), nonce, action))
}

func openText(app AppID, peer PeerID, watch, timestamp, nonce string, super bool) string {
	text := strings.Join([]string{string(app), string(peer), watch, timestamp, nonce}, ":")
	if super {
		text += ":" + superMark
	}
	return text
}

func groupText(app AppID, peer PeerID, group GroupID, peers []PeerID, timestamp, nonce, action string) string {
	return strings.Join([]string{string(app), string(peer), string(group), joinSorted(peers), timestamp, nonce, action}, ":")
}

func joinSorted(peers []PeerID) string {
	sorted := slices.Clone(peers)
	slices.Sort(sorted)
	var b strings.Builder
	for i, p := range sorted {
		if i > 0 {
			b.WriteByte(':')
		}
		b.WriteString(string(p))
	}
	return b.String()
}

func signHex(h func() hash.Hash, key, text string) string {
	mac := hmac.New(h, []byte(key))
	mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil))
}

// validSignature compares in constant time against the current and the previous master key. The length of the
// signature, which is no secret, chooses between SHA-1 and SHA-256.
func validSignature(cfg *AppConfig, text, signature string) bool {
	h := sha1.New
	if len(signature) == 2*sha256.Size {
		h = sha256.New
	}
	ok := subtle.ConstantTimeCompare([]byte(signHex(h, cfg.MasterKey, text)), []byte(signature))
	if cfg.PreviousMasterKey != "" {
		ok |= subtle.ConstantTimeCompare([]byte(signHex(h, cfg.PreviousMasterKey, text)), []byte(signature))
	}
	return ok == 1
}
