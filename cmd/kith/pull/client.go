package pull

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"golang.org/x/time/rate"

	"kith/api/legacy"
)

const (
	requestTimeout = time.Minute
	maxAnswer      = 256 << 20 // bytes: a full page of the largest messages is far from it
	firstWait      = time.Second
	longestWait    = time.Minute
	maxRefusal     = 64 << 10 // bytes read of an answer that is a refusal
)

// client asks the server.
type client struct {
	Options
	http  *http.Client
	limit *rate.Limiter
	said  func() Progress
}

// record is a record as it came, and its place.
type record struct {
	raw json.RawMessage
	place
}

// page returns the records behind a place, newest first, none when there are none. It tries again what passes.
func (c *client) page(ctx context.Context, from place) ([]record, error) {
	wait, since := firstWait, time.Now()
	for {
		if err := c.limit.Wait(ctx); err != nil {
			return nil, stopped(ctx, err)
		}
		records, err := c.ask(ctx, from)
		passes, ok := errors.AsType[*passing](err)
		if err == nil || !ok {
			return records, err
		}
		if ctx.Err() != nil {
			return nil, stopped(ctx, err)
		}
		pause := max(wait/2+rand.N(wait), passes.after) //nolint:gosec // spreads tries, no secret
		if time.Since(since)+pause > c.GiveUp {
			return nil, fmt.Errorf("gave up after %s: %w", c.GiveUp, passes.error)
		}
		said := c.said()
		said.Wait, said.Trouble = pause, passes.error
		c.tell(said)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, stopped(ctx, ctx.Err())
		}
		wait = min(2*wait, longestWait)
	}
}

// passing is an error that may be gone at the next try.
type passing struct {
	error
	after time.Duration // how long the server asks to be left alone
}

func (p *passing) Unwrap() error { return p.error }

func stopped(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return fmt.Errorf("stopped: %w", err)
}

// ask makes one request.
func (c *client) ask(ctx context.Context, from place) ([]record, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url(from), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-LC-Id", c.App)
	req.Header.Set("X-LC-Sign", legacy.Sign(c.MasterKey, time.Now()))
	req.Header.Set("User-Agent", "kith-pull")
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, &passing{error: err}
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end or given up
	if resp.StatusCode != http.StatusOK {
		return nil, refusal(resp)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, &passing{error: fmt.Errorf("the answer broke off: %w", err)}
	}
	if len(body) > maxAnswer {
		return nil, fmt.Errorf("a page is over %d bytes; ask for smaller ones with --page", maxAnswer)
	}
	return parse(body, from)
}

func (c *client) url(from place) string {
	query := url.Values{"limit": {strconv.Itoa(c.Page)}}
	if c.Conversation != "" {
		query.Set("convid", c.Conversation)
	}
	if from.Time != 0 {
		query.Set("max_ts", strconv.FormatInt(from.Time, 10))
	}
	if from.ID != "" {
		query.Set("msgid", from.ID)
	}
	u := c.Server.JoinPath("1.1", "rtm", "messages", "history")
	u.RawQuery = query.Encode()
	return u.String()
}

// parse reads a page. Of a record it needs time and id, to know where the next page begins; the rest is the importer's to judge.
func parse(body []byte, from place) ([]record, error) {
	var page []json.RawMessage
	if err := json.Unmarshal(body, &page); err != nil {
		return nil, fmt.Errorf("the server answered something else than a list of records: %w", err)
	}
	records := make([]record, len(page))
	for i, raw := range page {
		var named struct {
			Timestamp int64  `json:"timestamp"`
			MsgID     string `json:"msg-id"`
		}
		if err := json.Unmarshal(raw, &named); err != nil || named.Timestamp <= 0 || named.MsgID == "" {
			return nil, fmt.Errorf("the server answered a record without timestamp and msg-id: %.200q", raw)
		}
		records[i] = record{raw, place{named.Timestamp, named.MsgID}}
	}
	if len(records) == 0 {
		return nil, nil
	}
	return records, records[len(records)-1].behind(from)
}

// refusal makes the error of an answer that is no page. What the server says stands in it quoted: it goes to a terminal.
func refusal(resp *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusal)) // what came of it will do
	err := fmt.Errorf("the server answers %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	var told struct {
		Code  int    `json:"code"`
		Error string `json:"error"`
	}
	if json.Unmarshal(body, &told) == nil && told.Error != "" {
		err = fmt.Errorf("%w: %d %q", err, told.Code, told.Error)
	}
	switch s := resp.StatusCode; {
	case s == http.StatusTooManyRequests, s == http.StatusRequestTimeout, s >= 500:
		return &passing{error: err, after: retryAfter(resp.Header.Get("Retry-After"))}
	case s >= 300 && s < 400:
		return fmt.Errorf("%w: it has moved to %s; name that with --from", err, resp.Header.Get("Location"))
	}
	return err
}

// retryAfter reads Retry-After in seconds; a date, which such servers do not say, counts as nothing.
func retryAfter(header string) time.Duration {
	seconds, err := strconv.ParseUint(header, 10, 16)
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}
