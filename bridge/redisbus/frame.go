package redisbus

import (
	"encoding/binary"
	"errors"

	"kith/broker"
)

// A frame is what one PUBLISH carries:
//
//	version   1 byte
//	sender    its length, 1 byte, then the node's name
//	stream    8 bytes, big endian
//	sequence  8 bytes, big endian: 1 for the first frame of a stream
//	notes     each its length, a uvarint, then its bytes; to the end
const (
	frameVersion = 1
	maxNodeID    = 255
)

var errFrame = errors.New("frame cannot be read")

// header is a frame's beginning.
type header struct {
	from             []byte
	stream, sequence uint64
}

// appendHeader begins a frame. The sender's name has at most maxNodeID bytes.
func appendHeader(b []byte, from broker.NodeID, stream, sequence uint64) []byte {
	b = append(b, frameVersion, byte(len(from))) //nolint:gosec // Run checked the length
	b = append(b, from...)
	b = binary.BigEndian.AppendUint64(b, stream)
	return binary.BigEndian.AppendUint64(b, sequence)
}

func appendNote(b, note []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(note)))
	return append(b, note...)
}

// noteBytes bounds what a note takes in a frame.
func noteBytes(note []byte) int { return binary.MaxVarintLen32 + len(note) }

// parseHeader returns a frame's header and its notes.
func parseHeader(frame []byte) (h header, notes []byte, err error) {
	if len(frame) < 2 || frame[0] != frameVersion {
		return h, nil, errFrame
	}
	name, rest := int(frame[1]), frame[2:]
	if name == 0 || len(rest) < name+16 {
		return h, nil, errFrame
	}
	h.from, rest = rest[:name], rest[name:]
	h.stream, h.sequence = binary.BigEndian.Uint64(rest), binary.BigEndian.Uint64(rest[8:])
	if h.sequence == 0 {
		return h, nil, errFrame
	}
	return h, rest[16:], nil
}

// countNotes checks that notes can be read to their end.
func countNotes(notes []byte) (n int, err error) {
	for len(notes) > 0 {
		if _, notes, err = cutNote(notes); err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
}

// cutNote returns the first of notes, and the others.
func cutNote(notes []byte) (note, rest []byte, err error) {
	length, n := binary.Uvarint(notes)
	if n <= 0 || length > uint64(len(notes)-n) { //nolint:gosec // what is left
		return nil, nil, errFrame
	}
	end := n + int(length) //nolint:gosec // at most what is there
	return notes[n:end:end], notes[end:], nil
}
