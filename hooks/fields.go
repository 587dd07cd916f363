package hooks

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"
)

// fields reads MQTT's data types from the front of a packet. After the first fault every read returns a zero value
// and bad is set, so that a decoder checks once, at its end. What it returns points into the packet.
type fields struct {
	b   []byte
	bad bool
}

func (f *fields) take(n int) []byte {
	if n > len(f.b) {
		f.b, f.bad = nil, true
		return nil
	}
	v := f.b[:n]
	f.b = f.b[n:]
	return v
}

func (f *fields) u8() byte {
	if v := f.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (f *fields) u16() uint16 {
	if v := f.take(2); v != nil {
		return binary.BigEndian.Uint16(v)
	}
	return 0
}

func (f *fields) u32() uint32 {
	if v := f.take(4); v != nil {
		return binary.BigEndian.Uint32(v)
	}
	return 0
}

// bin reads binary data.
func (f *fields) bin() []byte { return f.take(int(f.u16())) }

// text reads a UTF-8 string without U+0000 [MQTT-1.5.4-1] [MQTT-1.5.4-2].
func (f *fields) text() []byte {
	v := f.bin()
	if !utf8.Valid(v) || bytes.IndexByte(v, 0) >= 0 {
		f.b, f.bad = nil, true
		return nil
	}
	return v
}

// varint reads a variable byte integer of at most four bytes, and of no more than it needs [MQTT-1.5.5-1].
func (f *fields) varint() int {
	v, n := varint(f.b)
	if n <= 0 || n > 1 && f.b[n-1] == 0 {
		f.b, f.bad = nil, true
		return 0
	}
	f.b = f.b[n:]
	return v
}

// varint decodes a variable byte integer. n is its length, 0 when there are too few bytes, -1 when it is longer than four.
func varint(b []byte) (v, n int) {
	for i := range min(len(b), 4) {
		v |= int(b[i]&0x7f) << (7 * i)
		if b[i] < 0x80 {
			return v, i + 1
		}
	}
	if len(b) >= 4 {
		return 0, -1
	}
	return 0, 0
}

// appendVarint appends v in the fewest bytes [MQTT-1.5.5-1].
func appendVarint(dst []byte, v int) []byte {
	for v >= 0x80 {
		dst = append(dst, byte(v)|0x80)
		v >>= 7
	}
	return append(dst, byte(v)) //nolint:gosec // below 0x80
}

func varintLen(v int) int {
	switch {
	case v < 1<<7:
		return 1
	case v < 1<<14:
		return 2
	case v < 1<<21:
		return 3
	}
	return 4
}

func appendU16(dst []byte, v int) []byte {
	return binary.BigEndian.AppendUint16(dst, uint16(v)) //nolint:gosec // lengths of fields that were 16 bits, or are bounded below
}

func appendText[T string | []byte](dst []byte, s T) []byte {
	return append(appendU16(dst, len(s)), s...)
}
