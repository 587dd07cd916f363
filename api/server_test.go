package api_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"kith/api"
	"kith/broker"
)

func TestHealthzIsOpen(t *testing.T) {
	s := start(t)
	var got map[string]any
	s.call("", "GET", "/healthz", nil).ok(200, &got)
	if got["status"] != "ok" {
		t.Error(got)
	}
}

func TestReadyzTellsOnlyWhileTheStoreAnswers(t *testing.T) {
	clock := time.Now()
	s := start(t, func(o *api.Options) { o.Now = func() time.Time { return clock } })
	type readiness struct {
		Ready bool
		Wrong []struct{ Part, Detail string }
	}
	var up readiness
	s.call("", "GET", "/readyz", nil).ok(200, &up)
	if !up.Ready || len(up.Wrong) != 0 {
		t.Errorf("%+v", up)
	}
	s.store.away = errors.New("disk /dev/secret is gone")
	clock = clock.Add(time.Second)
	var down readiness
	a := s.call("", "GET", "/readyz", nil).ok(503, &down)
	if down.Ready || len(down.Wrong) != 1 || down.Wrong[0].Part != "store" || down.Wrong[0].Detail == "" {
		t.Errorf("%+v", down)
	}
	if strings.Contains(a.Body.String(), "secret") {
		t.Error("anybody can read the store's own words")
	}
	s.store.away = nil
	clock = clock.Add(time.Second)
	s.call("", "GET", "/readyz", nil).ok(200, nil)
}

func TestStatsCountWhatHappened(t *testing.T) {
	s := start(t)
	s.open("alice")
	s.send("bob", "x", "alice")
	var got struct {
		Sessions     int64             `json:"sessions"`
		PeersOnline  int64             `json:"peers_online"`
		Accepted     uint64            `json:"accepted"`
		Transient    uint64            `json:"transient"`
		Delivered    uint64            `json:"delivered"`
		Acknowledged uint64            `json:"acknowledged"`
		Refused      map[string]uint64 `json:"refused"`
		Missed       uint64            `json:"missed"`
	}
	s.call(viewer, "GET", "/v1/stats", nil).ok(200, &got)
	if got.Sessions != 1 || got.PeersOnline != 1 || got.Accepted != 1 || got.Refused == nil {
		t.Errorf("%+v", got)
	}
}

type sourceFunc func(func(name, help string, value float64))

func (f sourceFunc) EachMetric(yield func(name, help string, value float64)) { f(yield) }

func withStoreMetrics(o *api.Options) {
	o.Sources = map[string]api.MetricSource{"store": sourceFunc(func(yield func(string, string, float64)) {
		yield("commits_total", "Commits.", 7)
		yield("queued", "Batches that wait.", 3)
	})}
}

func TestMetricsTakeAnOperatorsToken(t *testing.T) {
	s := start(t, withStoreMetrics)
	s.call("", "GET", "/metrics", nil).refused(401, 4118)
	s.open("alice")
	s.send("bob", "x", "alice")
	body := s.call(viewer, "GET", "/metrics", nil).ok(200, nil).Body.String()
	for _, want := range []string{
		"\nkith_sessions 1\n", "\nkith_peers_online 1\n", "# TYPE kith_missed_total counter",
		`kith_messages_accepted_total{kind="persistent"} 1`,
		"# TYPE kith_store_commits_total counter\nkith_store_commits_total 7\n", "# TYPE kith_store_queued gauge\nkith_store_queued 3\n",
		"\ngo_goroutines ", "\nprocess_start_time_seconds ",
		`kith_http_request_duration_seconds_count{method="POST",route="/v1/apps/{app}/messages",status="200"} 1`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q", want)
		}
	}
	if t.Failed() {
		t.Log(body)
	}
}

func TestMetricsArePublicWhereTheSettingsSaySo(t *testing.T) {
	s := start(t, func(o *api.Options) { o.Config.Metrics.Public = true })
	s.call("", "GET", "/metrics", nil).ok(200, nil)
}

func TestUnknownPathsAndMethodsAreProblems(t *testing.T) {
	s := start(t)
	s.call("", "GET", "/v2", nil).refused(404, 404)
	s.call(demo, "GET", "/v1/apps/demo/nothing", nil).refused(404, 404)
	if allow := s.call(demo, "PATCH", "/v1/apps/demo/messages", nil).refused(405, 405).Header().Values("Allow"); strings.Join(allow, " ") != "GET POST" {
		t.Errorf("Allow: %q", allow)
	}
	s.call("", "GET", "/mqtt", nil).refused(404, 404) // none was given
}

func TestAnswersAreNotCachedAndHaveAnID(t *testing.T) {
	s := start(t)
	h := s.call(demo, "GET", "/v1/apps/demo/messages", nil).Header()
	if h.Get("Cache-Control") != "no-store" || h.Get("X-Content-Type-Options") != "nosniff" || len(h.Get("X-Request-Id")) < 8 {
		t.Error(h)
	}
	if strings.Contains(s.call(demo, "GET", "/v1/apps/demo/messages", nil).Body.String(), "$schema") || h.Get("Link") != "" {
		t.Error("the answer speaks of its schema")
	}
}

// syncBuffer is a log that a test reads.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestTheLogHasRequestsAndNoSecrets(t *testing.T) {
	var out syncBuffer
	s := start(t, func(o *api.Options) {
		o.Logger = slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	s.call(demo, "GET", "/v1/apps/demo/messages?from=query-secret", nil).ok(200, nil)
	s.call(admin, "GET", "/v1/apps", nil).ok(200, nil)
	s.call("demo:wrong-secret", "GET", "/v1/apps/demo/messages?token=query-secret", nil).refused(401, 4118)
	s.call(demo, "POST", "/v1/apps/demo/messages", sendBody{"from": "a", "to": []string{"b"}, "message": "body-secret"}).ok(200, nil)
	s.call(demo, "POST", "/v1/apps/demo/messages", sendBody{"from": "a", "body-secret": 1}).refused(400, 4114)
	log := out.String()
	for _, secret := range []string{"demo-key", admin, "-secret", "ZGVtbzpkZW1vLWtleQ"} {
		if strings.Contains(log, secret) {
			t.Errorf("the log has %q: %s", secret, log)
		}
	}
	if !strings.Contains(log, `"route":"/v1/apps/{app}/messages"`) || !strings.Contains(log, `"status":401`) {
		t.Error(log)
	}
}

// A browser that was told credentials once says them by itself, whoever asks.
func TestAPageOfAnotherOriginChangesNothing(t *testing.T) {
	s := start(t)
	message := sendBody{"from": "alice", "to": []string{"bob"}, "message": "hello"}
	for _, from := range []struct {
		header, value string
		ok            bool
	}{
		{"Sec-Fetch-Site", "cross-site", false},
		{"Sec-Fetch-Site", "same-site", false},
		{"Sec-Fetch-Site", "same-origin", true},
		{"Origin", "https://elsewhere.example", false},
		{"Origin", "null", false},
		{"Origin", "https://example.com", true}, // the host of these requests
		{"User-Agent", "no browser", true},
	} {
		r := s.request(demo, "POST", "/v1/apps/demo/messages", message)
		r.Header.Del("Content-Type") // a page can have it left out, so that it is asked for nothing before
		r.Header.Set(from.header, from.value)
		if from.ok {
			s.do(r).ok(200, nil)
		} else {
			s.do(r).refused(403, 4119)
		}
		read := s.request(demo, "GET", "/v1/apps/demo/messages", nil)
		read.Header.Set(from.header, from.value)
		s.do(read).ok(200, nil)
	}
}

func TestAPanicCostsOneRequest(t *testing.T) {
	var out syncBuffer
	// A broker that was not made by New panics when it is asked.
	srv := api.New(&broker.Broker{}, api.Options{Logger: slog.New(slog.NewTextHandler(&out, nil))})
	s := &server{TB: t, api: srv, from: "192.0.2.7:1"}
	s.call(demo, "GET", "/v1/apps/demo/messages", nil).refused(500, 500)
	s.call("", "GET", "/healthz", nil).ok(200, nil)
	if !strings.Contains(out.String(), "panic in a request") {
		t.Error(out.String())
	}
}

// serve runs the server on a port of its own.
func (s *server) serve() (addr string, stop func() error) {
	s.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.Context())
	done := make(chan error, 1)
	go func() { done <- s.api.Run(ctx, l) }()
	return l.Addr().String(), sync.OnceValue(func() error { cancel(); return <-done })
}

func TestMQTTGetsTheBareConnection(t *testing.T) {
	s := start(t, func(o *api.Options) {
		o.MQTT = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, bounded := r.Context().Deadline(); bounded {
				t.Error("/mqtt has a deadline")
			}
			conn, rw, err := w.(http.Hijacker).Hijack() // without unwrapping
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\n\r\nmqtt")
			_ = rw.Flush()
		})
	})
	addr, stop := s.serve()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET /mqtt HTTP/1.1\r\nHost: kith\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	got, err := io.ReadAll(conn)
	if err != nil || string(got) != "HTTP/1.1 101 Switching Protocols\r\n\r\nmqtt" {
		t.Errorf("%q, %v", got, err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestAPanicUnderMQTTCostsOneConnection(t *testing.T) {
	s := start(t, func(o *api.Options) {
		o.MQTT = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("boom") })
	})
	addr, stop := s.serve()
	if response, err := http.Get("http://" + addr + "/mqtt"); err == nil {
		response.Body.Close()
		t.Errorf("answered %d", response.StatusCode)
	}
	response, err := http.Get("http://" + addr + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestRunFinishesRequestsAndEndsWithItsContext(t *testing.T) {
	s := start(t)
	addr, stop := s.serve()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const body = `{"from":"a","to":["b"],"message":"x"}`
	r := s.request(demo, "POST", "http://"+addr+"/v1/apps/demo/messages", body)
	r.Header.Set("Expect", "100-continue") // its arrival tells that the request is under way
	var raw bytes.Buffer
	_ = r.Write(&raw)
	head, tail, _ := strings.Cut(raw.String(), "\r\n\r\n")
	_, _ = io.WriteString(conn, head+"\r\n\r\n")
	in := bufio.NewReader(conn)
	if line, err := in.ReadString('\n'); err != nil || !strings.Contains(line, "100") {
		t.Fatalf("%q, %v", line, err)
	}
	_, _ = in.ReadString('\n')
	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	_, _ = io.WriteString(conn, tail)
	response, err := http.ReadResponse(in, r)
	if err != nil || response.StatusCode != 200 {
		t.Fatalf("%+v, %v", response, err)
	}
	response.Body.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestRunReportsAListenerThatBreaks(t *testing.T) {
	s := start(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := s.api.Run(t.Context(), l); err == nil {
		t.Error("no error")
	}
}
