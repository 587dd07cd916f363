package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"kith/api"
)

// report is a command that asks a server and prints what it answers: tables for people, JSON for programs.
type report struct {
	rest   restFlags
	asJSON bool
	most   int  // of the items of a list; 0: all
	admin  bool // what it asks is no app's own
}

// open prepares calls about an app, or about the whole server.
func (r *report) open(p *program) (*rest, error) {
	if r.admin {
		return r.rest.openAdmin(p)
	}
	return r.rest.open(p)
}

func (r *report) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&r.asJSON, "json", false, "print JSON as the server answers it, an object a line")
	r.rest.add(cmd)
}

// addList adds the flags of a command that prints a list.
func (r *report) addList(cmd *cobra.Command) {
	cmd.Flags().IntVar(&r.most, "limit", 100, "print so `many` at most; 0: all")
	r.add(cmd)
}

// path is a path below the app; each part may hold any character.
func (r *report) path(parts ...string) (string, error) {
	app, err := r.rest.key.appID()
	if err != nil {
		return "", err
	}
	var path strings.Builder
	path.WriteString("/v1/apps/" + string(app))
	for _, part := range parts {
		path.WriteString("/" + url.PathEscape(part))
	}
	return path.String(), nil
}

// call makes a call below the app; body and answer may be nil.
func (r *report) call(ctx context.Context, p *program, method string, body, answer any, parts ...string) error {
	path, err := r.path(parts...)
	if err != nil {
		return err
	}
	c, err := r.open(p)
	if err != nil {
		return err
	}
	return c.call(ctx, method, path, body, answer)
}

// column is one of a table.
type column[T any] struct {
	head string
	cell func(*T) string
}

// maxPage is how many items are asked for at once.
const maxPage = 1000

// printList prints the list at a path: a page, a table.
func printList[T any](ctx context.Context, p *program, r *report, path string, q url.Values, columns []column[T]) error {
	if r.most < 0 {
		return usagef("--limit is not negative")
	}
	c, err := r.open(p)
	if err != nil {
		return err
	}
	print := printItems[T]
	if !r.asJSON {
		print = func(w io.Writer, items []T) error { return printTable(w, items, columns) }
	}
	for left := r.most; ; {
		q.Set("limit", strconv.Itoa(maxPage))
		if r.most > 0 {
			q.Set("limit", strconv.Itoa(min(left, maxPage)))
		}
		var page api.Page[T]
		if err := c.call(ctx, http.MethodGet, path+"?"+q.Encode(), nil, &page); err != nil {
			return err
		}
		if err := print(p.stdout, page.Items); err != nil {
			return err
		}
		left -= len(page.Items)
		if page.Next == "" {
			return nil
		}
		if r.most > 0 && left <= 0 {
			_, err := fmt.Fprintf(p.stderr, "kith: there is more; --limit 0 prints all\n")
			return err
		}
		q.Set("cursor", page.Next)
	}
}

// printItems prints an object a line.
func printItems[T any](w io.Writer, items []T) error {
	for i := range items {
		if err := printObject(w, &items[i]); err != nil {
			return err
		}
	}
	return nil
}

func printObject(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

func printTable[T any](w io.Writer, items []T, columns []column[T]) error {
	if len(items) == 0 {
		return nil
	}
	heads := make([]string, len(columns))
	for i, c := range columns {
		heads[i] = c.head
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join(heads, "\t")) //nolint:errcheck // Flush tells
	cells := make([]string, len(columns))
	for i := range items {
		for j, c := range columns {
			cells[j] = printable(c.cell(&items[i]))
		}
		fmt.Fprintln(t, strings.Join(cells, "\t")) //nolint:errcheck // Flush tells
	}
	return t.Flush()
}

// facts prints what is known of one thing, a line each.
func facts(w io.Writer, lines [][2]string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, l := range lines {
		fmt.Fprintf(t, "%s\t%s\n", l[0], printable(l[1])) //nolint:errcheck // Flush tells
	}
	return t.Flush()
}

// clock shows Unix milliseconds in the zone of who reads.
func clock(ms int64) string {
	if ms == 0 {
		return "-"
	}
	return time.UnixMilli(ms).Format("2006-01-02 15:04:05")
}

// clockMS is clock to the millisecond.
func clockMS(ms int64) string {
	if ms == 0 {
		return "-"
	}
	return time.UnixMilli(ms).Format("2006-01-02 15:04:05.000")
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// joined lists ids.
func joined[S ~string](ids []S) string {
	if len(ids) == 0 {
		return "-"
	}
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = string(id)
	}
	return strings.Join(texts, ", ")
}

// setTimes puts times that flags name into a query.
func setTimes(q url.Values, since, until string) error {
	for name, text := range map[string]string{"since": since, "until": until} {
		ms, err := parseTime("--"+name, text)
		if err != nil {
			return err
		}
		if ms > 0 {
			q.Set(name, strconv.FormatInt(ms, 10))
		}
	}
	return nil
}

// setTexts puts what flags name into a query.
func setTexts(q url.Values, texts map[string]string) {
	for name, text := range texts {
		if text != "" {
			q.Set(name, text)
		}
	}
}
