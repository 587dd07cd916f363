package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"kith/broker"
)

// Target takes what is imported; *broker.Broker is one.
type Target interface {
	ImportMessages(ctx context.Context, app broker.AppID, messages []broker.PastMessage) ([]error, error)
	ImportGroup(ctx context.Context, app broker.AppID, g broker.Group) (created bool, err error)
	ImportMembers(ctx context.Context, app broker.AppID, id broker.GroupID, members []broker.Member) (joined int, err error)
}

// Result is what became of an import.
type Result struct {
	Records  int `json:"records"`  // read
	Messages int `json:"messages"` // new in history, read again and found as they came
	Groups   int `json:"groups"`   // made
	Members  int `json:"members"`  // that joined
	Present  int `json:"present"`  // records of which everything was there already
	Ignored  int `json:"ignored"`  // parts of an export that are not for importing
	// Refused are the records that could not be taken, in the order of their lines; at most MaxRefused.
	Refused []Refusal `json:"refused"`
	// Next is the line to go on with, because so many were refused; 0: all was read.
	Next int `json:"next,omitempty"`
}

// Refusal says why a record could not be taken.
type Refusal struct {
	Line   int    `json:"line"`
	Reason string `json:"reason"`
}

const (
	// MaxRefused is how many refusals end an import, so that each is told and none is held in memory for long.
	MaxRefused = 1000
	// importBatch and importBytes bound what is stored at once.
	importBatch = 500
	importBytes = 2 << 20
)

// Import reads records and stores them until there are no more, or too many were refused. An error is that of the stream or of the store;
// what was taken before it is counted.
func Import(ctx context.Context, t Target, app broker.AppID, r *Reader) (Result, error) {
	im := importer{target: t, app: app, result: Result{Refused: []Refusal{}}}
	for {
		raw, err := r.Next()
		if errors.Is(err, io.EOF) {
			err := im.flush(ctx)
			return im.ended(), err
		}
		if err != nil {
			err = errors.Join(err, im.flush(ctx))
			return im.ended(), err
		}
		if len(im.result.Refused)+len(im.messages) >= MaxRefused {
			if err := im.flushMessages(ctx); err != nil {
				return im.ended(), err
			}
			if len(im.result.Refused) >= MaxRefused {
				im.result.Next = raw.Line
				err := im.flush(ctx)
				return im.ended(), err
			}
		}
		im.result.Records++
		if err := im.take(ctx, raw); err != nil {
			return im.ended(), err
		}
	}
}

// ended is the result so far; refusals of one batch were found at different times.
func (im *importer) ended() Result {
	slices.SortStableFunc(im.result.Refused, func(a, b Refusal) int { return a.Line - b.Line })
	return im.result
}

// importer is an import under way.
type importer struct {
	target   Target
	app      broker.AppID
	result   Result
	messages []broker.PastMessage
	lines    []int // of messages
	bytes    int
	in       broker.GroupID  // the group of members
	members  []broker.Member // that wait for more of the same group
	joins    []int           // the lines of members
}

func (im *importer) refuse(line int, err error) {
	im.result.Refused = append(im.result.Refused, Refusal{line, err.Error()})
}

func (im *importer) take(ctx context.Context, raw Raw) error {
	rec, err := Record{}, raw.Err
	if err == nil {
		rec, err = Parse(raw.Data)
	}
	switch {
	case err != nil:
		im.refuse(raw.Line, err)
	case rec.Known:
		im.result.Ignored++
	case rec.Message != nil:
		rec.Message.App = im.app
		im.messages, im.lines = append(im.messages, *rec.Message), append(im.lines, raw.Line)
		if im.bytes += len(raw.Data); len(im.messages) >= importBatch || im.bytes >= importBytes {
			return im.flushMessages(ctx)
		}
	case rec.Group != nil:
		return im.group(ctx, raw.Line, rec)
	default:
		return im.member(ctx, raw.Line, rec)
	}
	return nil
}

func (im *importer) flush(ctx context.Context) error {
	if err := im.flushMessages(ctx); err != nil {
		return err
	}
	return im.flushMembers(ctx)
}

func (im *importer) flushMessages(ctx context.Context) error {
	if len(im.messages) == 0 {
		return nil
	}
	outcome, err := im.target.ImportMessages(ctx, im.app, im.messages)
	if err != nil {
		return fmt.Errorf("import messages of line %d and behind: %w", im.lines[0], err)
	}
	for i, err := range outcome {
		switch {
		case err == nil:
			im.result.Messages++
		case errors.Is(err, broker.ErrAlreadyThere):
			im.result.Present++
		default:
			im.refuse(im.lines[i], refusal(err))
		}
	}
	clear(im.messages)
	im.messages, im.lines, im.bytes = im.messages[:0], im.lines[:0], 0
	return nil
}

// refusal is the reason alone: the code is of no use to who reads a list of lines.
func refusal(err error) error {
	if e, ok := errors.AsType[*broker.Error](err); ok {
		return errors.New(e.Message)
	}
	return err
}

// group makes a group, and members where the record has them.
func (im *importer) group(ctx context.Context, line int, rec Record) error {
	if err := im.flushMembers(ctx); err != nil {
		return err
	}
	created, err := im.target.ImportGroup(ctx, im.app, *rec.Group)
	joined := 0
	if err == nil && len(rec.Members) > 0 {
		joined, err = im.target.ImportMembers(ctx, im.app, rec.Group.ID, rec.Members)
	}
	if created {
		im.result.Groups++
	}
	im.result.Members += joined
	if err == nil && !created && joined == 0 {
		im.result.Present++
	}
	return im.settle(line, err)
}

// settle refuses a record for what is wrong with it; that the store failed is the whole import's.
func (im *importer) settle(line int, err error) error {
	e, refused := errors.AsType[*broker.Error](err)
	switch {
	case err == nil:
		return nil
	case refused && e.Code != broker.Internal:
		im.refuse(line, refusal(err))
		return nil
	}
	return fmt.Errorf("import line %d: %w", line, err)
}

func (im *importer) member(ctx context.Context, line int, rec Record) error {
	if im.in != rec.In || len(im.members) >= importBatch {
		if err := im.flushMembers(ctx); err != nil {
			return err
		}
	}
	im.in = rec.In
	im.members, im.joins = append(im.members, rec.Members...), append(im.joins, line)
	return nil
}

// flushMembers makes members together, and one by one where something is wrong with one of them.
func (im *importer) flushMembers(ctx context.Context) error {
	members, lines := im.members, im.joins
	im.members, im.joins = im.members[:0], im.joins[:0]
	if len(members) == 0 {
		return nil
	}
	joined, err := im.target.ImportMembers(ctx, im.app, im.in, members)
	im.result.Members += joined
	if err == nil {
		im.result.Present += len(members) - joined
		return nil
	}
	if e, refused := errors.AsType[*broker.Error](err); !refused || e.Code == broker.Internal {
		return im.settle(lines[0], err)
	}
	im.result.Members -= joined // they are there already when their turn comes
	for i := range members {
		_, err := im.target.ImportMembers(ctx, im.app, im.in, members[i:i+1])
		if err == nil {
			im.result.Members++
		}
		if err := im.settle(lines[i], err); err != nil {
			return err
		}
	}
	return nil
}
