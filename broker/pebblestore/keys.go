package pebblestore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"kith/broker"
)

// The first byte of every key. A log's is its broker.LogKind.
const (
	keyRecord = 'r'
	keyExpiry = 'x'
	keyServer = 'z'
)

const (
	keyFormat = "zformat" // the version of this layout
	keyLast   = "zlast"   // the greatest id ever given
	keySize   = "zsize"   // kind app behind it: the bytes of an app's messages
)

const idSize = len(broker.MessageID{})

// expiryShift makes expiry buckets of 65.5 s: a record that is rewritten often leaves at most one index key a bucket.
const expiryShift = 16

var errName = errors.New("a name holds a NUL byte")

// checkNames refuses what would make two keys alike. Only a record's name, which ends its key, may hold a NUL.
func checkNames(app broker.AppID, owner string) error {
	if strings.IndexByte(string(app), 0) >= 0 || strings.IndexByte(owner, 0) >= 0 {
		return fmt.Errorf("key of %q %q: %w", app, owner, errName)
	}
	return nil
}

func appendLogPrefix(b []byte, log broker.LogID) []byte {
	b = append(b, byte(log.Kind))
	b = append(b, log.App...)
	b = append(b, 0)
	b = append(b, log.Owner...)
	return append(b, 0)
}

func logPrefixLen(log broker.LogID) int { return len(log.App) + len(log.Owner) + 3 }

// prefixEnd turns a log's prefix into the least key behind the log.
func prefixEnd(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	end[len(end)-1] = 1
	return end
}

func appendRecordKey(b []byte, k broker.Key) []byte {
	b = append(b, keyRecord, byte(k.Space))
	b = append(b, k.App...)
	b = append(b, 0)
	b = append(b, k.Owner...)
	b = append(b, 0)
	return append(b, k.Name...)
}

func recordKeyLen(k broker.Key) int { return len(k.App) + len(k.Owner) + len(k.Name) + 4 }

// parseRecordKey is the inverse of appendRecordKey.
func parseRecordKey(b []byte) (k broker.Key, ok bool) {
	if len(b) < 4 || b[0] != keyRecord {
		return k, false
	}
	app, rest, ok := bytes.Cut(b[2:], []byte{0})
	if !ok {
		return k, false
	}
	owner, name, ok := bytes.Cut(rest, []byte{0})
	return broker.Key{Space: broker.Space(b[1]), App: broker.AppID(app), Owner: string(owner), Name: string(name)}, ok
}

// expiryBucket is the time at which a record of this expiry is looked at for removal, never before it.
func expiryBucket(expires int64) uint64 {
	return uint64(expires)>>expiryShift + 1 //nolint:gosec // not negative
}

func appendExpiryKey(b []byte, bucket uint64, k broker.Key) []byte {
	b = append(b, keyExpiry)
	b = binary.BigEndian.AppendUint64(b, bucket)
	return appendRecordKey(b, k)
}

func expiryKeyLen(k broker.Key) int { return 1 + 8 + recordKeyLen(k) }

func parseExpiryKey(b []byte) (bucket uint64, k broker.Key, ok bool) {
	if len(b) < 9 || b[0] != keyExpiry {
		return 0, k, false
	}
	k, ok = parseRecordKey(b[9:])
	return binary.BigEndian.Uint64(b[1:]), k, ok
}

// clockOf is the part of an id that makes it unique within one store.
func clockOf(id broker.MessageID) uint64 { return binary.BigEndian.Uint64(id[:8]) }

// withClock returns id with another clock and the same node.
func withClock(id broker.MessageID, clock uint64) broker.MessageID {
	binary.BigEndian.PutUint64(id[:8], clock)
	return id
}

// keyID reads the id at the end of a log's key.
func keyID(key []byte) (id broker.MessageID) {
	copy(id[:], key[len(key)-idSize:])
	return id
}
