package redisstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"

	"kith/broker"
)

var (
	errName    = errors.New("a name holds a byte that separates names")
	errCorrupt = errors.New("stored value does not parse")
)

// checkNames refuses what would make two keys alike. A colon ends the app in a key, a NUL byte the owner of a record.
func checkNames(app broker.AppID, owner string) error {
	if strings.ContainsAny(string(app), ":\x00") || strings.IndexByte(owner, 0) >= 0 {
		return fmt.Errorf("key of %q %q: %w", app, owner, errName)
	}
	return nil
}

// layout names keys. All keys of one shard share a hash tag, so that a script can use them together.
type layout struct {
	prefixes []string // of each shard: the setting and the tag
}

func newLayout(prefix string, shards int) layout {
	var l layout
	for _, tag := range shardTags(shards) {
		l.prefixes = append(l.prefixes, prefix+"{"+tag+"}:")
	}
	return l
}

// shard is where everything of one owner is: of a peer, a conversation, a group, whatever else has records.
func (l layout) shard(app broker.AppID, owner string) int {
	return l.spread([]byte(app), []byte{0}, []byte(owner))
}

// spread chooses a shard by a hash.
func (l layout) spread(parts ...[]byte) int {
	if len(l.prefixes) == 1 {
		return 0
	}
	h := fnv.New64a()
	for _, p := range parts {
		h.Write(p)
	}
	sum := h.Sum64()
	sum ^= sum >> 32
	return int(sum % uint64(len(l.prefixes))) //nolint:gosec // below maxShards
}

func (l layout) clock(shard int) string    { return l.prefixes[shard] + "clock" }
func (l layout) ping(shard int) string     { return l.prefixes[shard] + "ping" }
func (l layout) expiries(shard int) string { return l.prefixes[shard] + "x" }

// bodies is the part of an app's log that a shard holds, with the messages.
func (l layout) bodies(shard int, app broker.AppID) string {
	return l.prefixes[shard] + "m:" + string(app)
}

// pastShard is where the body of a message that came from elsewhere is: its id, which others gave, says nothing of shards.
func (l layout) pastShard(id broker.MessageID) int { return l.spread(id[:]) }

// past is the part of an app's past that a shard holds.
func (l layout) past(shard int, app broker.AppID) string {
	return l.prefixes[shard] + "M:" + string(app)
}

// pastBodies is the messages of past.
func (l layout) pastBodies(shard int, app broker.AppID) string {
	return l.prefixes[shard] + "B:" + string(app)
}

// log is the key of any log but the app's.
func (l layout) log(shard int, kind broker.LogKind, app broker.AppID, owner string) string {
	return l.prefixes[shard] + string(rune(kind)) + ":" + string(app) + ":" + owner
}

func (l layout) record(shard int, k broker.Key) string {
	return l.prefixes[shard] + "r:" + string(rune(k.Space)) + ":" + string(k.App) + ":" + place(k)
}

// list is the index of an app's records in one space.
func (l layout) list(shard int, space broker.Space, app broker.AppID) string {
	return l.prefixes[shard] + "l:" + string(rune(space)) + ":" + string(app)
}

// place is a record's member in its list.
func place(k broker.Key) string { return k.Owner + "\x00" + k.Name }

// expiryPlace is a record's member in the shard's expiries.
func expiryPlace(k broker.Key) string {
	return string(rune(k.Space)) + ":" + string(k.App) + ":" + place(k)
}

func parseExpiryPlace(s string) (k broker.Key, ok bool) {
	if len(s) < 2 || s[1] != ':' {
		return k, false
	}
	app, rest, ok := strings.Cut(s[2:], ":")
	if !ok {
		return k, false
	}
	owner, name, ok := strings.Cut(rest, "\x00")
	return broker.Key{Space: broker.Space(s[0]), App: broker.AppID(app), Owner: owner, Name: name}, ok
}

// listed says whether the records of a space can be listed. The keys that make appends idempotent come by the message, are only
// ever asked for by name, and go without an index.
func listed(s broker.Space) bool { return s != broker.SpaceOnce && s != broker.SpaceReceipt }

// An id is 8 bytes of clock, 2 that name the shard that gave it and holds the body, and 2 of the store that asked.
const idSize = len(broker.MessageID{})

func clockOf(id broker.MessageID) uint64 { return binary.BigEndian.Uint64(id[:8]) }

func shardOf(id broker.MessageID) int { return int(binary.BigEndian.Uint16(id[8:10])) }

// streamID is a body's place among the bodies of its shard.
func streamID(clock uint64) string {
	b := strconv.AppendUint(make([]byte, 0, 24), clock>>16, 10)
	return string(strconv.AppendUint(append(b, '-'), clock&0xffff, 10))
}

// parseStreamID is the inverse of streamID.
func parseStreamID(s string) (uint64, error) {
	ms, seq, ok := strings.Cut(s, "-")
	if !ok {
		return 0, errCorrupt
	}
	hi, err := strconv.ParseUint(ms, 10, 48)
	if err != nil {
		return 0, errCorrupt
	}
	lo, err := strconv.ParseUint(seq, 10, 16)
	if err != nil {
		return 0, errCorrupt
	}
	return hi<<16 | lo, nil
}
