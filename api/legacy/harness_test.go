package legacy_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"kith/api"
	"kith/broker"
	"kith/broker/pebblestore"
)

// The app of the examples that the original service published.
const (
	appID     = "FFnN2hso42Wego3pWq4X5qlu"
	appKey    = "UtOCzqb67d3sN12Kts4URwy8"
	masterKey = "DyJegPlemooo4X1tg94gQkw1"
	oldKey    = "the-master-key-before"
)

// server is a running API over a real broker over a real store in memory.
type server struct {
	testing.TB
	url    string
	broker *broker.Broker
}

// start starts a server whose clock for requests is now; nil: the machine's.
func start(t testing.TB, now func() time.Time, change ...func(*api.Options, *broker.AppConfig)) *server {
	t.Helper()
	store, err := pebblestore.Open(pebblestore.Config{Path: "data"}, pebblestore.Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	published, other := broker.DefaultAppConfig(appID), broker.DefaultAppConfig("other")
	published.AppKey, published.MasterKey, published.PreviousMasterKey = appKey, masterKey, oldKey
	other.MasterKey = "other-key" // and no app key
	o := api.Options{Now: now}
	for _, f := range change {
		f(&o, &published)
	}
	b, err := broker.New(broker.Options{Store: store, Node: "kith-1", Apps: []broker.AppConfig{published, other}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- b.Run(ctx) }()
	h := httptest.NewServer(api.New(b, o).Handler())
	t.Cleanup(func() {
		h.Close()
		stop()
		if err := <-stopped; err != nil {
			t.Errorf("run broker: %v", err)
		}
		if err := store.Close(); err != nil {
			t.Errorf("close store: %v", err)
		}
	})
	return &server{TB: t, url: h.URL, broker: b}
}

// headers are a request's, as name, value, name, value …
type headers []string

// The ways to authenticate that most tests use.
var (
	asMaster = headers{"X-LC-Id", appID, "X-LC-Key", masterKey + ",master"}
	asApp    = headers{"X-LC-Id", appID, "X-LC-Key", appKey}
)

// signed is an X-LC-Sign.
func signed(at time.Time, key, mark string) string {
	ms := strconv.FormatInt(at.UnixMilli(), 10)
	sum := md5.Sum([]byte(ms + key))
	return hex.EncodeToString(sum[:]) + "," + ms + mark
}

// call makes a call below /1.1.
func (s *server) call(who headers, method, path, body string) *answer {
	s.Helper()
	return s.request(who, method, "/1.1"+path, body)
}

func (s *server) request(who headers, method, path, body string) *answer {
	s.Helper()
	r, err := http.NewRequestWithContext(s.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.Fatal(err)
	}
	for i := 0; i < len(who); i += 2 {
		r.Header.Set(who[i], who[i+1])
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		s.Fatal(err)
	}
	return &answer{TB: s, what: method + " " + path, status: resp.StatusCode, header: resp.Header, body: got}
}

// answer is what came back.
type answer struct {
	testing.TB
	what   string
	status int
	header http.Header
	body   []byte
}

// ok checks that the call was answered and decodes what came into to. Fields that to does not have are an error.
func (a *answer) ok(to any) {
	a.Helper()
	if a.status != http.StatusOK {
		a.Fatalf("%s: status %d: %s", a.what, a.status, a.body)
	}
	d := json.NewDecoder(bytes.NewReader(a.body))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		a.Fatalf("%s: %v in %s", a.what, err, a.body)
	}
}

// empty checks that the answer is {}.
func (a *answer) empty() {
	a.Helper()
	if got := strings.TrimSpace(string(a.body)); a.status != http.StatusOK || got != "{}" {
		a.Fatalf("%s: status %d, body %s, want {}", a.what, a.status, got)
	}
}

// refused checks that the answer is {"code","error"} with this status and code, and nothing else.
func (a *answer) refused(status, code int) {
	a.Helper()
	var e struct {
		Code  int    `json:"code"`
		Error string `json:"error"`
	}
	d := json.NewDecoder(bytes.NewReader(a.body))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil || a.status != status || e.Code != code || e.Error == "" {
		a.Fatalf("%s: status %d, body %s, want status %d and code %d", a.what, a.status, a.body, status, code)
	}
	if ct := a.header.Get("Content-Type"); ct != "application/json" {
		a.Errorf("%s: content type %q", a.what, ct)
	}
}

// record is an item of history, written down once more.
type record struct {
	Timestamp int64           `json:"timestamp"`
	ConvID    string          `json:"conv-id"`
	Data      string          `json:"data"`
	From      string          `json:"from"`
	MsgID     string          `json:"msg-id"`
	IsConv    *bool           `json:"is-conv"`
	IsRoom    *bool           `json:"is-room"`
	To        json.RawMessage `json:"to"`
	Bin       *bool           `json:"bin"`
	FromIP    string          `json:"from-ip"`
	AckAt     int64           `json:"ack-at"`
}

// logs are the records of a query.
func (s *server) logs(who headers, query string) []record {
	s.Helper()
	var got []record
	s.call(who, "GET", "/rtm/messages/logs"+query, "").ok(&got)
	return got
}

// texts are the messages of records, in their order.
func texts(records []record) string {
	var all []string
	for _, r := range records {
		all = append(all, r.Data)
	}
	return strings.Join(all, " ")
}

// send sends a persistent message and returns its record.
func (s *server) send(from, text string, to ...broker.PeerID) broker.SendResult {
	s.Helper()
	sent, err := s.broker.Send(s.Context(), appID, broker.SendRequest{From: broker.PeerID(from), To: to, Payload: []byte(text)})
	if err != nil {
		s.Fatal(err)
	}
	return sent
}

// group makes a group.
func (s *server) group(n broker.NewGroup) {
	s.Helper()
	if _, exists, err := s.broker.CreateGroup(s.Context(), appID, n); err != nil || exists {
		s.Fatalf("create group %s: exists %v, %v", n.ID, exists, err)
	}
}

// device is a connected client of the broker.
type device struct {
	*broker.Session
	testing.TB
	woken  chan struct{}
	closed chan broker.CloseReason
}

func (d *device) Wake() {
	select {
	case d.woken <- struct{}{}:
	default:
	}
}

func (d *device) Close(why broker.CloseReason) {
	select {
	case d.closed <- why:
	default:
	}
}

// open connects a device; it goes when the test ends.
func (s *server) open(clientID string) *device {
	s.Helper()
	d := &device{TB: s, woken: make(chan struct{}, 1), closed: make(chan broker.CloseReason, 1)}
	session, _, err := s.broker.Open(s.Context(), &broker.OpenRequest{
		App: appID, ClientID: clientID, Version: 5, Expiry: time.Hour, Remote: "192.0.2.9", Transport: "tcp",
	}, d)
	if err != nil {
		s.Fatalf("open %s: %v", clientID, err)
	}
	d.Session = session
	s.Cleanup(func() { session.End(broker.EndServer, nil) })
	return d
}

const patience = 10 * time.Second

// message returns the next message that the device is sent.
func (d *device) message() string {
	d.Helper()
	for end := time.After(patience); ; {
		for _, o := range d.Next(make([]broker.Out, 0, 1)) {
			d.Written()
			if o.Kind == broker.OutMessage {
				return string(o.Message.Payload)
			}
			d.Wake()
		}
		select {
		case <-d.woken:
		case <-end:
			d.Fatal("no message came")
		}
	}
}
