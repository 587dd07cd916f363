package load

import (
	"fmt"
	"strconv"
	"strings"
	"sync"

	"kith/broker"
)

// Stream is what one device sends to one peer or group.
type Stream struct {
	number int
	app    *App
	from   *Device
	to     broker.PeerID  // of a direct stream
	group  broker.GroupID // of a group's
	topic  string
	due    []*Device // that every message is for; fixed before the load begins

	mu       sync.Mutex
	messages []message // by number
}

// fate is what became of a message at its sender.
type fate byte

const (
	unanswered fate = iota
	acknowledged
	refused
)

// message is what the sender knows of a message.
type message struct {
	fate  fate
	id    string // when acknowledged
	again bool   // sent on more than one connection: it may have been accepted behind later ones
}

// next takes the next number.
func (s *Stream) next() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = append(s.messages, message{})
	return len(s.messages) - 1
}

func (s *Stream) sentAgain(n int) {
	s.mu.Lock()
	s.messages[n].again = true
	s.mu.Unlock()
}

func (s *Stream) answered(n int, f fate, id string) {
	s.mu.Lock()
	s.messages[n].fate, s.messages[n].id = f, id
	s.mu.Unlock()
}

// text is the payload of message n; it says what the message is, and is as long as size.
func (s *Stream) text(n, size int) string {
	head := fmt.Sprintf("torture %d %d ", s.number, n)
	return head + strings.Repeat("x", max(0, size-len(head)))
}

// parseText is the inverse of text.
func parseText(text string) (stream, n int, ok bool) {
	rest, ok := strings.CutPrefix(text, "torture ")
	if !ok {
		return 0, 0, false
	}
	fields := strings.SplitN(rest, " ", 3)
	if len(fields) != 3 {
		return 0, 0, false
	}
	stream, err1 := strconv.Atoi(fields[0])
	n, err2 := strconv.Atoi(fields[1])
	return stream, n, err1 == nil && err2 == nil && stream >= 0 && n >= 0
}

// key is the sender's own id of message n.
func (s *Stream) key(n int) string { return fmt.Sprintf("%d-%d", s.number, n) }
