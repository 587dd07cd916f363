package world

import (
	"bytes"
	"os"
	"strings"
	"sync"
)

// trouble are words that a node's log must not hold.
var trouble = [][]byte{[]byte("DATA RACE"), []byte("panic:"), []byte("panicked")}

// engineGivesUp is in the trace of Pebble's panic when its disk fails as it closes one WAL file for the next. Nobody can recover from it:
// the process ends, as by SIGKILL, and what it had acknowledged is judged as ever.
var engineGivesUp = []byte("pebble/v2.(*DB).rotateWAL(")

// journal is a node's log. It is written through a pipe, so that limits on what the node's process may write are not the log's.
type journal struct {
	mu    sync.Mutex
	file  *os.File
	wrong []string // lines with trouble
}

// maxWrong bounds the lines that are kept.
const maxWrong = 10

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for line := range bytes.Lines(p) {
		if last := len(j.wrong) - 1; last >= 0 && bytes.Contains(line, engineGivesUp) && strings.HasPrefix(j.wrong[last], "panic: ") {
			j.wrong = j.wrong[:last]
		}
		for _, word := range trouble {
			if bytes.Contains(line, word) && len(j.wrong) < maxWrong {
				j.wrong = append(j.wrong, string(bytes.TrimSpace(line)))
			}
		}
	}
	return j.file.Write(p)
}

// Trouble are lines of the nodes' logs that tell of a panic or a data race.
func (w *World) Trouble() (lines []string) {
	for _, n := range w.Nodes {
		n.log.mu.Lock()
		for _, line := range n.log.wrong {
			lines = append(lines, n.Name+": "+line)
		}
		n.log.mu.Unlock()
	}
	return lines
}
