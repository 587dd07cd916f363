package broker

import (
	"encoding/base32"
	"encoding/binary"
	"errors"
	"sync"
	"time"
)

// MessageID identifies a message or an event within an app, and orders it by the time it was accepted.
// Its first eight bytes are a hybrid clock (48 bits of Unix milliseconds, 16 bits that count within one), its last four are the
// node's own. Its text is 20 characters that sort as the bytes do.
type MessageID [12]byte

// idText keeps the order of the bytes and needs no quoting in a URL.
var idText = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

var errMessageID = errors.New("not a message id: 20 characters of 0-9 and a-v")

// String returns the id as clients see it.
func (id MessageID) String() string { return idText.EncodeToString(id[:]) }

// AppendText appends the id as clients see it.
func (id MessageID) AppendText(b []byte) ([]byte, error) { return idText.AppendEncode(b, id[:]), nil }

// MarshalText implements encoding.TextMarshaler.
func (id MessageID) MarshalText() ([]byte, error) { return id.AppendText(nil) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *MessageID) UnmarshalText(text []byte) error {
	parsed, err := ParseMessageID(string(text))
	if err == nil {
		*id = parsed
	}
	return err
}

// ParseMessageID is the inverse of String.
func ParseMessageID(s string) (MessageID, error) {
	var id MessageID
	if len(s) != idText.EncodedLen(len(id)) {
		return id, errMessageID
	}
	if _, err := idText.Decode(id[:], []byte(s)); err != nil || id.String() != s {
		return MessageID{}, errMessageID
	}
	return id, nil
}

// IsZero reports whether id is before every id ever made.
func (id MessageID) IsZero() bool { return id == MessageID{} }

// Compare orders ids by time.
func (id MessageID) Compare(other MessageID) int {
	for i := range id {
		if id[i] != other[i] {
			return int(id[i]) - int(other[i])
		}
	}
	return 0
}

// before returns the greatest id below id.
func (id MessageID) before() MessageID {
	for i := len(id) - 1; i >= 0; i-- {
		id[i]--
		if id[i] != 0xff {
			return id
		}
	}
	return MessageID{}
}

// after returns the least id above id.
func (id MessageID) after() MessageID {
	for i := len(id) - 1; i >= 0; i-- {
		id[i]++
		if id[i] != 0 {
			return id
		}
	}
	return id
}

func maxID(a, b MessageID) MessageID {
	if a.Compare(b) > 0 {
		return a
	}
	return b
}

func minID(a, b MessageID) MessageID {
	if a.Compare(b) < 0 {
		return a
	}
	return b
}

func (id MessageID) clock() uint64 { return binary.BigEndian.Uint64(id[:8]) }

// Time returns when the message was accepted, in Unix milliseconds.
func (id MessageID) Time() int64 { return int64(binary.BigEndian.Uint64(id[:8]) >> 16) }

// latestTime is the last that an id has room for, in Unix milliseconds.
const latestTime = 1<<48 - 1

// FirstIDAt returns the least id that a message accepted at ms (Unix milliseconds) can have; behind latestTime that of latestTime.
func FirstIDAt(ms int64) (id MessageID) {
	binary.BigEndian.PutUint64(id[:8], uint64(min(max(ms, 0), latestTime))<<16)
	return id
}

// IDClock makes ids that always increase, whatever the wall clock does. It is safe for concurrent use.
type IDClock struct {
	mu   sync.Mutex
	last uint64
	node uint32
	now  func() time.Time
}

// NewIDClock returns a clock whose ids are all above after. The node tells the ids of several nodes apart.
func NewIDClock(node uint32, after MessageID, now func() time.Time) *IDClock {
	return &IDClock{last: binary.BigEndian.Uint64(after[:8]), node: node, now: now}
}

// Next returns an id above every id returned before.
func (c *IDClock) Next() (id MessageID) {
	at := uint64(c.now().UnixMilli()) << 16
	c.mu.Lock()
	c.last = max(at, c.last+1)
	at = c.last
	c.mu.Unlock()
	binary.BigEndian.PutUint64(id[:8], at)
	binary.BigEndian.PutUint32(id[8:], c.node)
	return id
}
