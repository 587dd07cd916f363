package pull_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kith/cmd/kith/pull"
)

// service is a server of the original calls with made records, newest first. It answers without a network, so that time is the bubble's.
type service struct {
	records []made
	trouble func(call int) *http.Response // in place of an answer; nil: none
	calls   int
	asked   []url.Values
	at      []time.Time
}

type made struct {
	Timestamp int64  `json:"timestamp"`
	MsgID     string `json:"msg-id"`
	Data      string `json:"data"`
}

// makeRecords makes n records, three in each millisecond.
func makeRecords(n int) (records []made) {
	for i := range n {
		records = append(records, made{1408008498571 - int64(i/3), fmt.Sprintf("id-%04d", n-i), "今天天气不错！<&>"})
	}
	return records
}

func (s *service) RoundTrip(r *http.Request) (*http.Response, error) {
	s.calls++
	s.asked, s.at = append(s.asked, r.URL.Query()), append(s.at, time.Now())
	if s.trouble != nil {
		if resp := s.trouble(s.calls); resp != nil {
			return resp, nil
		}
	}
	w := httptest.NewRecorder()
	if r.URL.Path != "/1.1/rtm/messages/history" || r.Header.Get("X-LC-Id") != "shop" || !strings.HasSuffix(r.Header.Get("X-LC-Sign"), ",master") {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.WriteString(`{"code":401,"error":"Unauthorized."}`)
		return w.Result(), nil
	}
	body, _ := json.MarshalIndent(s.page(r.URL.Query()), "", "  ")
	_, _ = w.Write(body)
	return w.Result(), nil
}

func (s *service) page(q url.Values) []made {
	limit, _ := strconv.Atoi(q.Get("limit"))
	from := 0
	if q.Has("max_ts") {
		maxTS, _ := strconv.ParseInt(q.Get("max_ts"), 10, 64)
		from = slices.IndexFunc(s.records, func(m made) bool {
			return m.Timestamp < maxTS || m.Timestamp == maxTS && q.Has("msgid") && m.MsgID < q.Get("msgid")
		})
		if from < 0 {
			return []made{}
		}
	}
	return s.records[from:min(len(s.records), from+limit)]
}

func refusing(status int, header, value, body string) *http.Response {
	w := httptest.NewRecorder()
	w.Header().Set(header, value)
	w.WriteHeader(status)
	_, _ = w.WriteString(body)
	return w.Result()
}

// options are those of a pull from s into dir.
func options(s *service, dir string) pull.Options {
	server, _ := url.Parse("https://service.example")
	return pull.Options{
		Source: pull.Source{App: "shop"}, Server: server, MasterKey: "key", Transport: s,
		Output: filepath.Join(dir, "out.ndjson"), State: filepath.Join(dir, "out.state"), Page: 10, Rate: 2, GiveUp: 10 * time.Minute,
	}
}

// lines are the ids of the records in a file, each of which must be one line.
func lines(t *testing.T, path string) (ids []string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var m made
		if err := json.Unmarshal([]byte(line), &m); err != nil || !strings.HasSuffix(line, "}\n") {
			t.Fatalf("line %q: %v", line, err)
		}
		ids = append(ids, m.MsgID)
	}
	return ids
}

func ids(records []made) (all []string) {
	for _, m := range records {
		all = append(all, m.MsgID)
	}
	return all
}

func same(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got %d records %.200v, want %d", len(got), got, len(want))
	}
}

func TestEveryRecordIsPulledOnceAsItCame(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &service{records: makeRecords(95)}
		o := options(s, t.TempDir())
		var told []int64
		o.Progress = func(p pull.Progress) { told = append(told, p.Records) }
		got, err := pull.Run(t.Context(), o)
		if err != nil || got.Records != 95 || got.Oldest.UnixMilli() != s.records[94].Timestamp {
			t.Fatalf("%+v, %v", got, err)
		}
		same(t, lines(t, o.Output), ids(s.records))
		text, _ := os.ReadFile(o.Output)
		if !strings.HasPrefix(string(text), `{"timestamp":1408008498571,"msg-id":"id-0095","data":"今天天气不错！\u003c\u0026\u003e"}`+"\n") {
			t.Errorf("first line: %.200s", text)
		}
		if len(told) != 11 || told[0] != 10 || told[10] != 95 {
			t.Errorf("progress: %v", told)
		}
		for i := 2; i < len(s.at); i++ { // the first two may come at once
			if gap := s.at[i].Sub(s.at[i-1]); gap < 499*time.Millisecond {
				t.Errorf("request %d came %s after the one before, at 2 a second", i, gap)
			}
		}
		if _, err := pull.Run(t.Context(), o); !errors.Is(err, pull.ErrDone) {
			t.Errorf("a pull that is complete: %v", err)
		}
	})
}

func TestAShortPageIsNotTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &service{records: makeRecords(7)}
		s.trouble = func(call int) *http.Response {
			if call == 1 {
				body, _ := json.Marshal(s.records[:2])
				return refusing(http.StatusOK, "Content-Type", "application/json", string(body))
			}
			return nil
		}
		o := options(s, t.TempDir())
		if _, err := pull.Run(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		same(t, lines(t, o.Output), ids(s.records))
	})
}

func TestWhatPassesIsTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &service{records: makeRecords(25)}
		s.trouble = func(call int) *http.Response {
			switch call {
			case 2:
				return refusing(http.StatusTooManyRequests, "Retry-After", "90", `{"code":429,"error":"Too many requests."}`)
			case 3, 4:
				return refusing(http.StatusBadGateway, "Server", "x", "<html>")
			}
			return nil
		}
		o := options(s, t.TempDir())
		var troubles []string
		o.Progress = func(p pull.Progress) {
			if p.Trouble != nil {
				troubles = append(troubles, p.Trouble.Error())
			}
		}
		if _, err := pull.Run(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		same(t, lines(t, o.Output), ids(s.records))
		if waited := s.at[2].Sub(s.at[1]); waited < 90*time.Second {
			t.Errorf("tried again after %s, and was asked to wait 90 s", waited)
		}
		if len(troubles) != 3 || !strings.Contains(troubles[0], `429 "Too many requests."`) {
			t.Errorf("told: %q", troubles)
		}
	})
}

func TestAServerThatStaysAwayIsGivenUpAndThePullGoesOnLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &service{records: makeRecords(25)}
		away := true
		s.trouble = func(call int) *http.Response {
			if away && call > 1 {
				return refusing(http.StatusServiceUnavailable, "Server", "x", "")
			}
			return nil
		}
		o := options(s, t.TempDir())
		begin := time.Now()
		got, err := pull.Run(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), "gave up after 10m0s: the server answers 503") || got.Records != 10 {
			t.Fatalf("%+v, %v", got, err)
		}
		if took := time.Since(begin); took < 8*time.Minute || took > 10*time.Minute+time.Second {
			t.Errorf("gave up after %s", took)
		}
		// A page that was written without its state is cut off and fetched again.
		f, _ := os.OpenFile(o.Output, os.O_APPEND|os.O_WRONLY, 0)
		_, _ = f.WriteString(`{"timestamp":1,"msg-id":"half a pa`)
		_ = f.Close()
		away = false
		if got, err = pull.Run(t.Context(), o); err != nil || got.Records != 25 {
			t.Fatalf("%+v, %v", got, err)
		}
		same(t, lines(t, o.Output), ids(s.records))
	})
}

// An error is printed to a terminal, and who wrote the server's part of it need not be a friend.
func TestWhatAServerSaysComesWithoutControlCharacters(t *testing.T) {
	t.Parallel()
	s := &service{trouble: func(int) *http.Response {
		return refusing(http.StatusForbidden, "Server", "x", `{"code":7,"error":"\u001b[2Jgone"}`)
	}}
	_, err := pull.Run(t.Context(), options(s, t.TempDir()))
	if err == nil || strings.Contains(err.Error(), "\x1b") || !strings.Contains(err.Error(), "[2Jgone") {
		t.Error(err)
	}
}

func TestAPullThatIsStoppedSaysSo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		s := &service{records: makeRecords(100)}
		o := options(s, t.TempDir())
		o.Progress = func(p pull.Progress) {
			if p.Records == 30 {
				stop()
			}
		}
		got, err := pull.Run(ctx, o)
		if !errors.Is(err, context.Canceled) || got.Records != 30 {
			t.Fatalf("%+v, %v", got, err)
		}
		same(t, lines(t, o.Output), ids(s.records[:30]))
	})
}

func TestWhatDoesNotPassEndsThePull(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status              int
		header, value, body string
		want                string
	}{
		"a wrong key":    {401, "Server", "x", `{"code":401,"error":"Unauthorized."}`, `401 Unauthorized: 401 "Unauthorized."`},
		"another place":  {302, "Location", "https://elsewhere.example/1.1", "", "moved to https://elsewhere.example/1.1; name that with --from"},
		"a page of HTML": {200, "Server", "x", "<html>", "something else than a list of records"},
		"a refusal":      {200, "Server", "x", `{"code":1,"error":"x"}`, "something else than a list of records"},
		"no time":        {200, "Server", "x", `[{"msg-id":"a"}]`, "a record without timestamp and msg-id"},
		"no id":          {200, "Server", "x", `[{"timestamp":5}]`, "a record without timestamp and msg-id"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &service{trouble: func(int) *http.Response { return refusing(c.status, c.header, c.value, c.body) }}
			_, err := pull.Run(t.Context(), options(s, t.TempDir()))
			if err == nil || !strings.Contains(err.Error(), c.want) || s.calls != 1 {
				t.Errorf("%d calls, %v, want %s", s.calls, err, c.want)
			}
		})
	}
}

func TestAServerThatGoesInCirclesIsNoticed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		body, _ := json.Marshal(makeRecords(10))
		s := &service{trouble: func(int) *http.Response { return refusing(http.StatusOK, "Server", "x", string(body)) }}
		if _, err := pull.Run(t.Context(), options(s, t.TempDir())); err == nil || !strings.Contains(err.Error(), "does not go backward") {
			t.Error(err)
		}
	})
}

func TestSinceAndUntilBoundAPull(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &service{records: makeRecords(90)}
		o := options(s, t.TempDir())
		o.Since, o.Until = s.records[62].Timestamp, s.records[30].Timestamp
		o.Conversation = "team"
		if _, err := pull.Run(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		same(t, lines(t, o.Output), ids(s.records[33:63]))
		if got := s.asked[0].Get("convid"); got != "team" {
			t.Errorf("convid %q", got)
		}
	})
}

func TestAFileIsNotMixedUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &service{records: makeRecords(5)}
		o := options(s, t.TempDir())
		if err := os.WriteFile(o.Output, []byte("mine\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := pull.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "holds something") {
			t.Errorf("over another file: %v", err)
		}
		_ = os.Remove(o.Output)
		if _, err := pull.Run(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		other := o
		other.App = "else"
		if _, err := pull.Run(t.Context(), other); err == nil || !strings.Contains(err.Error(), "is of another pull") {
			t.Errorf("another pull's state: %v", err)
		}
		if err := os.Truncate(o.Output, 3); err != nil {
			t.Fatal(err)
		}
		if _, err := pull.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "is shorter") {
			t.Errorf("a file that was cut: %v", err)
		}
	})
}
