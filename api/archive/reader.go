package archive

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
)

// MaxRecord bounds a record, in bytes: a message of broker.MaxPastMessage in the least favourable form, and its surroundings.
const MaxRecord = 1 << 20

// Raw is one record as it was read, and the line on which it begins, from 1.
type Raw struct {
	Line int
	Data []byte // valid until the next call
	Err  error  // what is wrong with it, where it is no record
}

// Reader splits a stream into records.
type Reader struct {
	in    *bufio.Reader
	line  int
	array bool // records are the elements of an array, which may stretch over lines
	begun bool
	ended bool
	buf   []byte
}

// NewReader returns a reader of r.
func NewReader(r io.Reader) *Reader {
	return &Reader{in: bufio.NewReaderSize(r, 64<<10), line: 1}
}

// results is how a call for a table answers.
var results = regexp.MustCompile(`^\s*\{\s*"results"\s*:\s*\[`)

// ErrStream says that the stream failed, and no record.
var ErrStream = errors.New("read records")

var (
	errTooLong = fmt.Errorf("it is over %d bytes", MaxRecord)
	errNoArray = errors.New("the array is broken here: what is behind was not read")
)

// Next returns the next record, or io.EOF. Another error is that of the stream.
func (r *Reader) Next() (Raw, error) {
	if !r.begun {
		r.begun = true
		if err := r.begin(); err != nil {
			return Raw{}, err
		}
	}
	if r.ended {
		return Raw{}, io.EOF
	}
	if r.array {
		return r.element()
	}
	return r.nextLine()
}

// begin finds out whether an array comes.
func (r *Reader) begin() error {
	head, err := r.in.Peek(512)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: %w", ErrStream, err)
	}
	if bom := []byte("\ufeff"); bytes.HasPrefix(head, bom) {
		_, _ = r.in.Discard(len(bom)) // it was peeked at
		head = head[len(bom):]
	}
	opening := results.Find(head)
	if trimmed := bytes.TrimLeft(head, " \t\r\n"); opening == nil && len(trimmed) > 0 && trimmed[0] == '[' {
		opening = head[:len(head)-len(trimmed)+1]
	}
	if opening != nil {
		r.array = true
		r.line += bytes.Count(opening, []byte("\n"))
		_, _ = r.in.Discard(len(opening)) // it was peeked at
	}
	return nil
}

// nextLine returns the next line that is neither empty nor a remark.
func (r *Reader) nextLine() (Raw, error) {
	for {
		data, tooLong, err := r.readLine()
		if err != nil && !errors.Is(err, io.EOF) {
			return Raw{}, fmt.Errorf("%w: %w", ErrStream, err)
		}
		at := r.line
		r.line++
		data = bytes.TrimSpace(data)
		switch {
		case tooLong:
			return Raw{Line: at, Err: errTooLong}, nil
		case len(data) > 0 && data[0] != '#':
			return Raw{Line: at, Data: data}, nil
		case err != nil:
			r.ended = true
			return Raw{}, io.EOF
		}
	}
}

func (r *Reader) readLine() (line []byte, tooLong bool, err error) {
	r.buf = r.buf[:0]
	for {
		part, err := r.in.ReadSlice('\n')
		if len(r.buf)+len(part) > MaxRecord+1 {
			tooLong = true
		} else if !tooLong {
			r.buf = append(r.buf, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return r.buf, tooLong, err
		}
	}
}

// element returns the next element of the array. Its end is found by its brackets; whether it is JSON shows later.
func (r *Reader) element() (Raw, error) {
	r.buf = r.buf[:0]
	raw := Raw{}
	var depth int
	var inString, escaped, tooLong bool
	for {
		c, err := r.in.ReadByte()
		if errors.Is(err, io.EOF) {
			r.ended = true
			return Raw{Line: r.line, Err: errNoArray}, nil
		}
		if err != nil {
			return Raw{}, fmt.Errorf("%w: %w", ErrStream, err)
		}
		if c == '\n' {
			r.line++
		}
		if depth == 0 {
			switch c {
			case ' ', '\t', '\r', '\n', ',':
				continue
			case ']':
				r.ended = true
				return Raw{}, io.EOF
			case '{':
				raw.Line = r.line
			default:
				r.ended = true
				return Raw{Line: r.line, Err: errNoArray}, nil
			}
		}
		if tooLong = tooLong || len(r.buf) >= MaxRecord; !tooLong {
			r.buf = append(r.buf, c)
		}
		switch {
		case escaped:
			escaped = false
		case inString:
			escaped, inString = c == '\\', c != '"'
		case c == '"':
			inString = true
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		}
		if depth == 0 {
			if raw.Data = r.buf; tooLong {
				raw.Data, raw.Err = nil, errTooLong
			}
			return raw, nil
		}
	}
}
