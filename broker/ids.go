package broker

import (
	"crypto/md5" //nolint:gosec // an identifier fixed by spec 1, not a protection
	"encoding/hex"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// AppID names a tenant: 1–64 of A–Z a–z 0–9 _ . - (spec 1).
type AppID string

// PeerID names who sends and receives within an app: 1–50 characters of UTF-8 without control characters, spaces
// and / + # : $ (spec 1).
type PeerID string

// DeviceID names one of a peer's clients: 1–64 characters under a peer's rules (spec 1).
type DeviceID string

// GroupID names a group within an app: an app id's form, but not 32 hex digits (spec 1).
type GroupID string

// ConversationID is 32 lower-case hex digits for direct messages, or a group's id (spec 1).
type ConversationID string

// DefaultDevice is the device of a client id that names none.
const DefaultDevice DeviceID = "default"

const (
	maxPeerChars   = 50
	maxDeviceChars = 64
	maxNameChars   = 64
)

// ParseAppID checks the form of an app id.
func ParseAppID(s string) (AppID, bool) { return AppID(s), isName(s) }

// ParsePeerID checks the form of a peer id.
func ParsePeerID(s string) (PeerID, bool) { return PeerID(s), isPeerName(s, maxPeerChars) }

// ParseDeviceID checks the form of a device id.
func ParseDeviceID(s string) (DeviceID, bool) { return DeviceID(s), isPeerName(s, maxDeviceChars) }

// ParseGroupID checks the form of a group id.
func ParseGroupID(s string) (GroupID, bool) {
	return GroupID(s), isName(s) && !isDirectConversation(s)
}

// ParseConversationID checks the form of a conversation's id.
func ParseConversationID(s string) (ConversationID, bool) {
	return ConversationID(s), isName(s) && (!isDirectConversation(s) || s == strings.ToLower(s))
}

// ParseClientID splits an MQTT client id of the form peer or peer/device.
func ParseClientID(s string) (PeerID, DeviceID, bool) {
	peer, device, named := strings.Cut(s, "/")
	if !named {
		device = string(DefaultDevice)
	}
	p, ok := ParsePeerID(peer)
	if !ok {
		return "", "", false
	}
	d, ok := ParseDeviceID(device)
	return p, d, ok
}

// DirectConversation is the conversation of direct messages between peers: the md5 of their ids, sorted bytewise
// and joined by ":". The order and repetition of peers do not matter (spec 1).
func DirectConversation(peers ...PeerID) ConversationID {
	sorted := slices.Clone(peers)
	slices.Sort(sorted)
	sorted = slices.Compact(sorted)
	h := md5.New() //nolint:gosec // as above
	for i, p := range sorted {
		if i > 0 {
			h.Write([]byte{':'})
		}
		h.Write([]byte(p))
	}
	return ConversationID(hex.EncodeToString(h.Sum(nil)))
}

// isName reports whether s is 1–64 of A–Z a–z 0–9 _ . - : an app id, a group id or a nonce.
func isName(s string) bool {
	if len(s) == 0 || len(s) > maxNameChars {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '.', c == '-':
		default:
			return false
		}
	}
	return true
}

func isPeerName(s string, maxChars int) bool {
	if s == "" || len(s) > maxChars*utf8.UTFMax || !utf8.ValidString(s) || utf8.RuneCountInString(s) > maxChars {
		return false
	}
	for _, r := range s {
		switch r {
		case '/', '+', '#', ':', '$':
			return false
		}
		if unicode.IsControl(r) || unicode.IsSpace(r) {
			return false
		}
	}
	return true
}

func isDirectConversation(s string) bool {
	if len(s) != 2*md5.Size {
		return false
	}
	_, err := hex.DecodeString(s)
	return err == nil
}
