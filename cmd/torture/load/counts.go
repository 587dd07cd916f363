package load

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
)

// maxExamples bounds how many faults are told in words.
const maxExamples = 40

// counts are what happened while the load ran.
type counts struct {
	acked, delivered, redelivered                atomic.Int64
	duplicated, disordered, misdelivered, faulty atomic.Int64

	mu       sync.Mutex
	refusals map[string]int
	opens    map[string]int
	examples []string
}

// expected are the refusals that an outage explains: the store is away (4200), the node ends or is too full to begin.
func expected(reason string) bool { return strings.HasPrefix(reason, "4200") }

func (c *counts) refusedMessage(d *Device, reason string) {
	c.count(&c.refusals, reason)
	if !expected(reason) {
		c.wrong("%s: a message is refused: %s", d, reason)
	}
}

func (c *counts) refusedOpen(no *refusal) {
	c.count(&c.opens, no.reason)
	if no.code != 0x88 && no.code != 0x89 && !expected(no.reason) {
		c.wrong("a session is %s", no.Error())
	}
}

func (c *counts) count(of *map[string]int, what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if *of == nil {
		*of = map[string]int{}
	}
	(*of)[what]++
}

func (c *counts) misdeliver(format string, args ...any) { c.tell(&c.misdelivered, format, args) }
func (c *counts) disorder(format string, args ...any)   { c.tell(&c.disordered, format, args) }
func (c *counts) duplicate(format string, args ...any)  { c.tell(&c.duplicated, format, args) }

// wrong is anything else that must not happen.
func (c *counts) wrong(format string, args ...any) { c.tell(&c.faulty, format, args) }

func (c *counts) tell(n *atomic.Int64, format string, args []any) {
	n.Add(1)
	c.example(format, args...)
}

// example keeps words for a few of what is counted.
func (c *counts) example(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.examples) < maxExamples {
		c.examples = append(c.examples, fmt.Sprintf(format, args...))
	}
}

// Progress is how far the load is, in words.
func (l *Load) Progress() string {
	return fmt.Sprintf("%d acknowledged, %d delivered", l.counts.acked.Load(), l.counts.delivered.Load())
}
