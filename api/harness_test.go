package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"kith/api"
	"kith/broker"
	"kith/broker/pebblestore"
)

// The credentials of the server that start starts.
const (
	demo     = "demo:demo-key"   // master key of the app demo
	other    = "other:other-key" // of the app other
	admin    = "admin-token"     // of all apps
	operator = "operator-token"  // of demo and of an app that does not exist
	viewer   = "viewer-token"    // of demo
)

// server is an API over a real broker over a real store in memory.
type server struct {
	testing.TB
	api    *api.Server
	broker *broker.Broker
	store  *faultyStore
	from   string // the remote address of calls
}

// faultyStore is the store, until it is told to be away.
type faultyStore struct {
	broker.Store
	away    error
	reads   atomic.Int64
	failing atomic.Bool
	most    atomic.Int64 // messages that one call read
}

func (s *faultyStore) Messages(ctx context.Context, app broker.AppID, ids []broker.MessageID) ([]*broker.Message, error) {
	if n := int64(len(ids)); n > s.most.Load() {
		s.most.Store(n)
	}
	return s.Store.Messages(ctx, app, ids)
}

// failReads makes all reads of logs fail behind the first n.
func (s *faultyStore) failReads(n int64) {
	s.reads.Store(n)
	s.failing.Store(true)
}

func (s *faultyStore) Read(ctx context.Context, log broker.LogID, r broker.Range) ([]broker.Entry, error) {
	if s.failing.Load() && s.reads.Add(-1) < 0 {
		return nil, errors.New("the disk is gone")
	}
	return s.Store.Read(ctx, log, r)
}

func (s *faultyStore) Ping(ctx context.Context) error {
	if s.away != nil {
		return s.away
	}
	return s.Store.Ping(ctx)
}

func start(t testing.TB, change ...func(*api.Options)) *server {
	t.Helper()
	inner, err := pebblestore.Open(pebblestore.Config{Path: "data"}, pebblestore.Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	store := &faultyStore{Store: inner}
	apps := []broker.AppConfig{broker.DefaultAppConfig("demo"), broker.DefaultAppConfig("other")}
	apps[0].MasterKey, apps[0].PreviousMasterKey, apps[1].MasterKey = "demo-key", "demo-old-key", "other-key"
	b, err := broker.New(broker.Options{Store: store, Node: "kith-1", Version: "1.2.3", Apps: apps})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- b.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-stopped; err != nil {
			t.Errorf("run broker: %v", err)
		}
		if err := inner.Close(); err != nil {
			t.Errorf("close store: %v", err)
		}
	})
	o := api.Options{Config: api.Config{Operators: []api.Operator{
		{Name: "root", Token: admin, Role: api.RoleAdmin, Apps: []string{"*"}},
		{Name: "ops", TokenHash: api.HashToken(operator), Role: api.RoleOperator, Apps: []string{"demo", "ghost"}},
		{Name: "eyes", Token: viewer, Role: api.RoleViewer, Apps: []string{"demo"}},
	}}}
	for _, f := range change {
		f(&o)
	}
	return &server{TB: t, api: api.New(b, o), broker: b, store: store, from: "192.0.2.7:1234"}
}

// call makes a request. who is app:key or an operator's token; "" is nobody. body may be nil, a string as it is, or anything as JSON.
func (s *server) call(who, method, path string, body any) *answer {
	s.Helper()
	return s.do(s.request(who, method, path, body))
}

func (s *server) request(who, method, path string, body any) *http.Request {
	s.Helper()
	r := httptest.NewRequestWithContext(s.Context(), method, path, reader(s, body))
	r.RemoteAddr = s.from
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if app, key, ok := strings.Cut(who, ":"); ok {
		r.SetBasicAuth(app, key)
	} else if who != "" {
		r.Header.Set("Authorization", "Bearer "+who)
	}
	return r
}

func (s *server) do(r *http.Request) *answer {
	s.Helper()
	w := httptest.NewRecorder()
	s.api.Handler().ServeHTTP(w, r)
	a := &answer{TB: s, what: r.Method + " " + r.URL.String(), ResponseRecorder: w}
	checkDocumented(s, r, a)
	return a
}

// now is the present in Unix milliseconds.
func now() int64 { return time.Now().UnixMilli() }

func reader(t testing.TB, body any) io.Reader {
	t.Helper()
	switch b := body.(type) {
	case nil:
		return nil
	case string:
		return strings.NewReader(b)
	}
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.NewReader(b)
}

// answer is what came back.
type answer struct {
	testing.TB
	what string
	*httptest.ResponseRecorder
}

// ok checks the status and decodes the body into to, if that is not nil. Fields that to does not have are an error.
func (a *answer) ok(status int, to any) *answer {
	a.Helper()
	if a.Code != status {
		a.Fatalf("%s: status %d, want %d: %s", a.what, a.Code, status, a.Body)
	}
	if to == nil {
		return a
	}
	d := json.NewDecoder(bytes.NewReader(a.Body.Bytes()))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		a.Fatalf("%s: %v in %s", a.what, err, a.Body)
	}
	return a
}

// refused checks that the answer is a problem with this status and code.
func (a *answer) refused(status, code int) *answer {
	a.Helper()
	var p api.Problem
	a.ok(status, &p)
	if p.Code != code || p.Status != status || p.Type == "" || p.Title == "" || p.Name == "" || p.Detail == "" {
		a.Errorf("%s: problem %+v, want status %d and code %d", a.what, p, status, code)
	}
	if ct := a.Header().Get("Content-Type"); ct != "application/problem+json" {
		a.Errorf("%s: content type %q", a.what, ct)
	}
	return a
}

// list is a page as callers see it.
type list[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next"`
}

// all reads every page of a list, limit items at a time, and checks that the last has no next.
func all[T any](s *server, path string, limit string) []T {
	s.Helper()
	path += map[bool]string{true: "&", false: "?"}[strings.Contains(path, "?")] + "limit=" + limit
	var items []T
	for at := path; ; {
		var page list[T]
		s.call(demo, "GET", at, nil).ok(200, &page)
		items = append(items, page.Items...)
		if page.Next == "" {
			return items
		}
		at = path + "&cursor=" + page.Next
	}
}

type sendBody map[string]any

// send sends a text to peers and returns its id.
func (s *server) send(from, text string, to ...string) string {
	s.Helper()
	var sent struct {
		MessageID    string `json:"message_id"`
		TS           int64  `json:"ts"`
		Conversation string `json:"conversation"`
	}
	s.call(demo, "POST", "/v1/apps/demo/messages", sendBody{"from": from, "to": to, "message": text}).ok(200, &sent)
	return sent.MessageID
}

// texts are the messages of items.
func texts(items []message) []string {
	var all []string
	for _, m := range items {
		all = append(all, m.Message)
	}
	return all
}

// message is a history item of spec 11, written down once more.
type message struct {
	ID           string   `json:"id"`
	Conversation string   `json:"conversation"`
	From         string   `json:"from"`
	To           []string `json:"to"`
	Group        string   `json:"group"`
	TS           int64    `json:"ts"`
	Message      string   `json:"message"`
	Data         string   `json:"data"`
	ContentType  string   `json:"content_type"`
	ReceiptAt    int64    `json:"receipt_at"`
	FromIP       string   `json:"from_ip"`
	Original     string   `json:"original_id"`
}

// device is a connected client of the broker that reads nothing of what it is sent.
type device struct {
	*broker.Session
	closed chan broker.CloseReason
}

func (d *device) Wake() {}

func (d *device) Close(why broker.CloseReason) {
	select {
	case d.closed <- why:
	default:
	}
}

// open connects a device to the app demo; it goes when the test ends.
func (s *server) open(clientID string, watch ...string) *device {
	s.Helper()
	d := &device{closed: make(chan broker.CloseReason, 1)}
	password, _ := json.Marshal(map[string]any{"watch": slices.Concat([]string{}, watch)})
	session, _, err := s.broker.Open(s.Context(), &broker.OpenRequest{
		App: "demo", ClientID: clientID, Password: password, Version: 5, Expiry: time.Hour, Remote: "192.0.2.9", Transport: "tcp",
	}, d)
	if err != nil {
		s.Fatalf("open %s: %v", clientID, err)
	}
	d.Session = session
	s.Cleanup(func() { session.End(broker.EndServer, nil) })
	return d
}
