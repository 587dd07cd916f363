package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"kith/api"
	"kith/api/archive"
)

// importing is what kith import was asked to do.
type importing struct {
	rest    restFlags
	from    int
	rejects string
	quiet   bool
}

func newImport(p *program) *cobra.Command {
	var im importing
	cmd := &cobra.Command{
		Use:   "import [file]",
		Short: "Take groups and history into a running server",
		Long: `Import reads a file, or stdin, and takes it into an app's history and groups over REST. It reads

  an export of kith export,
  message records as the original service's history calls return them (timestamp, conv-id, data, from, msg-id, to, bin, is-room, is-conv, …),
  rows of its tables AVOSRealtimeGroups and _Conversation (objectId, m, c, name, attr, tr; other columns become attributes),

each as NDJSON or a JSON array. Messages keep their time; those of the original service keep their msg-id as original_id. They are in
history alone, and delivered to nobody. What is there already stays as it is: the same file may be imported again, also after it
was interrupted; --from-line passes over what is known to be done. What was stored is read again and compared. A record that cannot be taken
is told with its line and the reason, on stderr or in the file of --rejects, and the exit code is then 1.`,
		Example: `  kith import demo.ndjson
  kith import --config kith.yaml --app shop --rejects rejects.ndjson messages.json
  zcat shop.ndjson.gz | kith import --api https://chat.example.com:8080 --app shop --key-file key.txt`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return p.importFrom(cmd.Context(), &im, p.stdin)
			}
			f, err := os.Open(args[0])
			if err != nil {
				return usagef("%w", err)
			}
			defer f.Close() //nolint:errcheck // only read
			return p.importFrom(cmd.Context(), &im, f)
		},
	}
	f := cmd.Flags()
	f.IntVar(&im.from, "from-line", 1, "go on with this `line`")
	f.StringVar(&im.rejects, "rejects", "", "`file` for what could not be taken: line, reason and record, as NDJSON")
	f.BoolVar(&im.quiet, "quiet", false, "show no progress")
	im.rest.add(cmd)
	return cmd
}

const (
	// importRecords and importChunk bound what one call takes, so that a failure costs little.
	importRecords = archive.MaxRefused / 2
	importChunk   = 2 << 20
	// importTries is how often a call is made before the import ends, with rising waits in between.
	importTries = 6
	importWait  = 500 * time.Millisecond
	// importShow is how often progress is shown.
	importShow = time.Second
)

func (p *program) importFrom(ctx context.Context, im *importing, in io.Reader) error {
	app, err := im.rest.key.appID()
	if err != nil {
		return err
	}
	if isFile(in, im.rejects) {
		return usagef("--rejects %s is the file that is imported, and would be emptied: name another", im.rejects)
	}
	c, err := im.rest.open(p)
	if err != nil {
		return err
	}
	run := &importRun{rest: c, path: "/v1/apps/" + string(app) + "/import", stderr: p.stderr, quiet: im.quiet, rejects: p.stderr}
	run.began = time.Now()
	run.shown = run.began
	work := func() error { return run.all(ctx, archive.NewReader(in), im.from) }
	if im.rejects == "" {
		err = work()
	} else {
		err = run.withRejects(im.rejects, work)
	}
	run.show(true)
	switch {
	case err != nil && run.next > 0:
		return fmt.Errorf("%w; what came before line %d is in: go on with --from-line %d", err, run.next, run.next)
	case err != nil:
		return err
	case run.refused > 0:
		return fmt.Errorf("%d records could not be taken", run.refused)
	}
	return nil
}

// isFile reports whether a stream is the file of that name.
func isFile(in io.Reader, name string) bool {
	f, ok := in.(*os.File)
	if !ok || name == "" {
		return false
	}
	read, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(name)
	return err == nil && os.SameFile(read, named)
}

// importRun is an import under way.
type importRun struct {
	rest    *rest
	path    string
	stderr  io.Writer
	rejects io.Writer // each refusal
	whole   bool      // refusals go with their records
	quiet   bool
	began   time.Time
	shown   time.Time

	chunk   bytes.Buffer
	lines   []int    // of the chunk's records
	records [][]byte // those, where refusals go with them
	next    int      // the line of the first record that is not known to be in
	done    api.Imported
	refused int
}

func (r *importRun) withRejects(path string, work func() error) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return usagef("--rejects: %w", err)
	}
	r.rejects, r.whole = f, true
	return errors.Join(work(), f.Close())
}

func (r *importRun) all(ctx context.Context, in *archive.Reader, from int) error {
	for {
		raw, err := in.Next()
		if errors.Is(err, io.EOF) {
			return r.send(ctx)
		}
		if err != nil {
			return errors.Join(err, r.send(ctx))
		}
		if raw.Line < from {
			continue
		}
		if raw.Err != nil {
			r.done.Records++
			if err := r.reject(raw.Line, raw.Err.Error(), nil); err != nil {
				return err
			}
			continue
		}
		if len(r.lines) == 0 {
			r.next = raw.Line
		}
		if err := r.add(raw); err != nil {
			return err
		}
		if len(r.lines) >= importRecords || r.chunk.Len() >= importChunk {
			if err := r.send(ctx); err != nil {
				return err
			}
		}
	}
}

// add puts a record into the chunk, on one line.
func (r *importRun) add(raw archive.Raw) error {
	before := r.chunk.Len()
	if err := json.Compact(&r.chunk, raw.Data); err != nil {
		r.chunk.Truncate(before)
		r.done.Records++
		return r.reject(raw.Line, "it is no JSON: "+err.Error(), raw.Data)
	}
	if r.whole {
		r.records = append(r.records, bytes.Clone(r.chunk.Bytes()[before:]))
	}
	r.chunk.WriteByte('\n')
	r.lines = append(r.lines, raw.Line)
	return nil
}

// send gives the chunk to the server, again where that is worth it: what is there already stays as it is.
func (r *importRun) send(ctx context.Context) error {
	if len(r.lines) == 0 {
		return nil
	}
	var answer api.Imported
	wait := importWait
	for try := 1; ; try++ {
		err := r.post(ctx, &answer)
		if err == nil {
			break
		}
		if refused, ok := errors.AsType[*refusedCall](err); try == importTries || ctx.Err() != nil || ok && refused.status < 500 && refused.status != http.StatusTooManyRequests {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
		wait *= 2
	}
	for _, x := range answer.Refused {
		if x.Line < 1 || x.Line > len(r.lines) {
			return fmt.Errorf("the server refused line %d of %d that it was sent", x.Line, len(r.lines))
		}
		var record []byte
		if r.whole {
			record = r.records[x.Line-1]
		}
		if err := r.reject(r.lines[x.Line-1], x.Reason, record); err != nil {
			return err
		}
	}
	r.done.Records += answer.Records
	r.done.Messages += answer.Messages
	r.done.Groups += answer.Groups
	r.done.Members += answer.Members
	r.done.Present += answer.Present
	r.done.Ignored += answer.Ignored
	r.next = r.lines[len(r.lines)-1] + 1
	r.chunk.Reset()
	r.lines, r.records = r.lines[:0], r.records[:0]
	r.show(false)
	return nil
}

func (r *importRun) post(ctx context.Context, to *api.Imported) error {
	res, err := r.rest.do(ctx, http.MethodPost, r.path, bytes.NewReader(r.chunk.Bytes()), "application/x-ndjson")
	if err != nil {
		return err
	}
	defer res.Body.Close() //nolint:errcheck // it was read
	if err := json.NewDecoder(res.Body).Decode(to); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	return nil
}

// reject tells of a record that could not be taken.
func (r *importRun) reject(line int, reason string, record []byte) error {
	r.refused++
	if !r.whole {
		_, err := fmt.Fprintf(r.rejects, "line %d: %s\n", line, reason)
		return err
	}
	out := struct {
		Line   int             `json:"line"`
		Reason string          `json:"reason"`
		Record json.RawMessage `json:"record,omitempty"`
	}{Line: line, Reason: reason}
	if json.Valid(record) {
		out.Record = record
	}
	return json.NewEncoder(r.rejects).Encode(out)
}

// show tells how far it came.
func (r *importRun) show(last bool) {
	if now := time.Now(); !last && (r.quiet || now.Sub(r.shown) < importShow) {
		return
	}
	r.shown = time.Now()
	took := time.Since(r.began)
	d := &r.done
	fmt.Fprintf(r.stderr, "%d records in %v (%.0f/s): %d messages, %d groups and %d members are new; %d were there already, %d ignored, %d refused\n", //nolint:errcheck // there is nobody else to tell
		d.Records, took.Round(time.Millisecond), float64(d.Records)/max(took.Seconds(), 0.001), d.Messages, d.Groups, d.Members, d.Present, d.Ignored, r.refused)
}
