package e2e_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

// call makes one HTTP call and returns status and body.
func (s *server) call(t testing.TB, method, path, body, authorization string) (int, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.HTTP+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", authorization)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	return do(t, r)
}

func do(t testing.TB, r *http.Request) (int, []byte) {
	t.Helper()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, answer
}

// rest makes a call below /v1/apps/{app} with the master key, which must succeed, and decodes the answer.
func (a *app) rest(t testing.TB, method, path, body string) page {
	t.Helper()
	basic := "Basic " + basicOf(a.id, a.key)
	status, answer := a.call(t, method, "/v1/apps/"+a.id+path, body, basic)
	if status >= 300 {
		t.Fatalf("%s %s: status %d: %s", method, path, status, answer)
	}
	var p page
	if len(answer) > 0 {
		if err := json.Unmarshal(answer, &p); err != nil {
			t.Fatalf("%s %s: %v: %s", method, path, err, answer)
		}
	}
	return p
}

// online reports whether a peer is.
func (a *app) online(t testing.TB, peer string) bool {
	t.Helper()
	return len(a.rest(t, http.MethodPost, "/peers/status", `{"peers":["`+peer+`"]}`).Online) > 0
}

// sessions are the devices of a peer, none for one that was never seen.
func (a *app) sessions(t testing.TB, peer string) []session {
	t.Helper()
	status, answer := a.call(t, http.MethodGet, "/v1/apps/"+a.id+"/peers/"+peer, "", "Bearer "+adminToken)
	var p struct{ Sessions []session }
	if status != http.StatusNotFound {
		mustDecode(t, string(answer), &p)
	}
	return p.Sessions
}

// session is a device as REST shows it.
type session struct {
	Device, Protocol, Address string
	Connected                 bool
	Watch                     []string
}

// page is any answer of REST that the tests look into.
type page struct {
	Items        []historyItem
	Next         string
	MessageID    string `json:"message_id"`
	TS           int64
	Conversation string
	Online       []string
	Waiting      int
}

// historyItem is a message as history shows it.
type historyItem struct {
	ID, Conversation, From, Group, Message string
	To                                     []string
	Data                                   []byte
	TS                                     int64
	ContentType                            string `json:"content_type"`
	ReceiptAt                              int64  `json:"receipt_at"`
	FromIP                                 string `json:"from_ip"`
}

// texts are the messages of a page, in its order.
func (p page) texts() string {
	var texts []string
	for _, m := range p.Items {
		texts = append(texts, m.Message)
	}
	return strings.Join(texts, " ")
}

func mustDecode(t testing.TB, text string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
}

func basicOf(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
}
