package e2e_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/eclipse/paho.golang/paho"
)

// answers are what becomes of a topic, or a filter, that alice names: 0 where it is granted, else the code of the refusal.
type answers struct {
	publish   int // at QoS 1, also with the retain flag, and as a will
	subscribe int // also as one of two filters
	shared    int // $share/g/…
	wildcard  int // its last level as +, then as #
	response  int // as the Response Topic of a request
}

const (
	no = 4401 // not a topic of one's own
	nm = 4317 // not a member
	ng = 4303 // there is no such group
)

// isolation is every shape of a topic (spec 3). alice watches bob and not carol, and is a member of ours and not of theirs; the app lets its
// peers use topic/open/#. In the app mallory's there are the same names.
var isolation = []struct {
	topic string // behind the app's id; one that begins with / is taken as it is
	answers
}{
	{"peer/bob/alice", answers{0, 0, no, no, no}},    // to whom one watches; what one sent oneself
	{"peer/carol/alice", answers{no, 0, no, no, no}}, // unwatched
	{"peer/alice/alice", answers{no, 0, no, 0, no}},
	{"peer/alice/bob", answers{no, 0, no, 0, no}}, // under another's name
	{"peer/bob/carol", answers{no, no, no, no, no}},
	{"peer/bob", answers{no, no, no, no, no}},
	{"peer/bob/alice/more", answers{no, no, no, no, no}},
	{"peer//alice", answers{no, no, no, no, no}},
	{"group/ours/alice", answers{0, 0, no, 0, no}},
	{"group/ours/bob", answers{no, 0, no, 0, no}},     // another member's name
	{"group/ours/$event", answers{no, 0, no, 0, no}},  // the server's
	{"group/theirs/alice", answers{nm, 0, no, 0, no}}, // a filter says nothing about members: it only sets how theirs would come
	{"group/nobodys/alice", answers{ng, 0, no, 0, no}},
	{"presence/bob", answers{no, 0, no, no, no}},
	{"presence/alice", answers{no, 0, no, no, no}},
	{"request/alice/status", answers{0, no, no, no, no}},
	{"request/bob/status", answers{no, no, no, no, no}},
	{"event/alice/reply", answers{no, 0, no, 0, 0}},
	{"event/bob/reply", answers{no, no, no, no, no}},
	{"topic/open/x", answers{0, 0, 0, 0, no}},
	{"topic/closed/x", answers{no, no, no, no, no}},
	{"topic/open", answers{0, 0, 0, no, no}}, // open/# is more than open; + beside it is not
	{"other/x", answers{no, no, no, no, no}},
	{"/x", answers{no, no, no, no, no}},
	{"/$SYS/broker/uptime", answers{no, no, no, no, no}},
	{"/$share/g/x", answers{no, no, no, no, no}},
}

// Nothing crosses apps, and within one nobody speaks or listens for somebody else: each shape of a topic, in each place where a client can
// name one, in alice's own app and in another.
func TestEveryTopicShapeInEveryOperation(t *testing.T) {
	t.Parallel()
	inBothVersions(t, func(t *testing.T, version int) {
		settings := `topics: ["open", "open/#"]`
		mine, foreign := newApp(t, settings), newApp(t, settings)
		var bystanders []*client
		for _, a := range []*app{mine, foreign} {
			names := []string{"bob", "carol"}
			if a == foreign {
				names = append(names, "alice")
			}
			for _, name := range names {
				c := open(t, a, name, opening{password: watching("bob", "alice")})
				c.subscribe(1, "topic/open/#")
				bystanders = append(bystanders, c)
			}
			operate(t, a, `{"id":"ours","members":["alice","bob"]}`)
			operate(t, a, `{"id":"theirs","members":["bob","carol"]}`)
		}
		alice := open(t, mine, "alice", opening{version: version, password: watching("bob")})
		for _, row := range isolation {
			for _, a := range []*app{mine, foreign} {
				want, topic := row.answers, row.topic
				if !strings.HasPrefix(topic, "/") {
					topic = "/" + a.id + "/" + topic
				} else if a == foreign {
					continue
				}
				if a == foreign {
					want = answers{no, no, no, no, no}
				}
				alice.checkAnswers(topic, want)
			}
		}
		alice.close()
		for _, c := range bystanders {
			c.does("status", `{"peers":[]}`)
			c.mu.Lock()
			for i := range c.all {
				if strings.HasPrefix(c.all[i].payload, "refused") {
					t.Errorf("%s in %s gets what was refused: %+v", c.peer, c.app.id, c.all[i])
				}
			}
			c.mu.Unlock()
		}
	})
}

// operate makes a group.
func operate(t *testing.T, a *app, group string) {
	t.Helper()
	if status, answer := a.call(t, http.MethodPost, "/v1/apps/"+a.id+"/groups", group, "Bearer "+adminToken); status != http.StatusOK {
		t.Fatalf("POST groups: %d %s", status, answer)
	}
}

func (c *client) checkAnswers(topic string, want answers) {
	c.t.Helper()
	report := func(operation string, got, want int) {
		c.t.Helper()
		if got != want {
			c.t.Errorf("%s %s: %d, want %d", operation, topic, got, want)
		}
	}
	payload := "granted"
	if want.publish != 0 {
		payload = "refused"
	}
	if !strings.Contains(topic, "/request/") { // their payload is no matter of who may send
		report("publish to", c.publishAnswer(topic, payload, false), want.publish)
		report("publish, retained, to", c.publishAnswer(topic, payload, true), want.publish)
		if want.publish == no { // a will is judged when it is set, so that no group is asked
			report("will to", c.willAnswer(topic, payload), no)
		}
	}
	report("subscribe to", c.subscribeAnswer(topic), want.subscribe)
	report("shared subscription to", c.subscribeAnswer("/$share/g"+topic), want.shared)
	above := topic[:strings.LastIndex(topic, "/")+1]
	for _, wild := range []string{"+", "#"} {
		report("subscribe to "+wild+" beside", c.subscribeAnswer(above+wild), want.wildcard)
	}
	if c.version == 5 {
		report("response topic", c.responseAnswer(topic), want.response)
	}
}

// publishAnswer publishes and returns the code of the refusal.
func (c *client) publishAnswer(topic, payload string, retain bool) (code int) {
	c.t.Helper()
	ack := c.publish(topic, payload, publication{qos: 1, retain: retain})
	if c.version == 5 {
		_, _ = fmt.Sscan(ack.reason, &code)
		return code
	}
	c.does("status", `{"peers":[]}`)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = slices.DeleteFunc(c.waiting, func(a arrival) bool {
		if a.topic == "event/"+c.peer+"/error" {
			code = a.body(c.t).Code
			return true
		}
		return false
	})
	return code
}

// willAnswer opens another session with a will.
func (c *client) willAnswer(topic, payload string) int {
	c.t.Helper()
	other, refusal := dial(c.t, c.app, "alice/dying", opening{version: c.version, password: watching("bob"), will: &will{topic: topic, payload: payload, qos: 1}})
	if refusal == nil {
		other.drop()
		return 0
	}
	if c.version == 3 {
		return map[byte]int{5: no}[refusal.code]
	}
	var code int
	_, _ = fmt.Sscan(refusal.reason, &code)
	return code
}

func (c *client) subscribeAnswer(filter string) int {
	c.t.Helper()
	codes := c.subscribe(1, filter)
	if len(codes) == 1 && codes[0] >= 0x80 {
		return no
	}
	return 0
}

func (c *client) responseAnswer(topic string) int {
	c.t.Helper()
	response := strings.TrimPrefix(topic, "/")
	c.publish("request/"+c.peer+"/status", `{"peers":[]}`, publication{qos: 1, props: paho.PublishProperties{ResponseTopic: response}})
	return c.event("reply").Code
}

// Requests name peers, groups and conversations: what is not alice's to see or change is refused, and the foreign app's is unknown.
func TestRequestsStayWithThePeerAndItsApp(t *testing.T) {
	t.Parallel()
	mine, foreign := newApp(t), newApp(t)
	var between string
	for _, a := range []*app{mine, foreign} {
		operate(t, a, `{"id":"theirs","members":["bob","carol"]}`)
		between = a.rest(t, http.MethodPost, "/messages", `{"from":"bob","to":["carol"],"message":"secret"}`).Conversation
	}
	operate(t, mine, `{"id":"ours","members":["alice","bob"]}`)
	operate(t, foreign, `{"id":"abroad","members":["alice","bob"]}`)
	message := foreign.rest(t, http.MethodPost, "/messages", `{"from":"alice","to":["bob"],"message":"secret"}`).MessageID
	alice := open(t, mine, "alice", opening{password: watching("bob")})
	for _, row := range []struct {
		verb, request string
		want          int
	}{
		{"send", `{"to":["bob"],"message":"x"}`, 0},
		{"send", `{"to":["carol"],"message":"x"}`, no},
		{"send", `{"to":["bob","carol"],"message":"refused for both"}`, no},
		{"send", `{"group":"ours","message":"x"}`, 0},
		{"send", `{"group":"theirs","message":"x"}`, nm},
		{"send", `{"group":"abroad","message":"x"}`, ng},
		{"invite", `{"group":"theirs","peers":["alice"]}`, nm},
		{"invite", `{"group":"abroad","peers":["alice"]}`, ng},
		{"kick", `{"group":"theirs","peers":["carol"]}`, nm},
		{"kick", `{"group":"abroad","peers":["bob"]}`, ng},
		{"join", `{"group":"abroad"}`, ng},
		{"members", `{"group":"ours"}`, 0},
		{"members", `{"group":"theirs"}`, nm},
		{"members", `{"group":"abroad"}`, ng},
		{"history", `{"peer":"bob"}`, 0},
		{"history", `{"group":"ours"}`, 0},
		{"history", `{"group":"theirs"}`, nm},
		{"history", `{"group":"abroad"}`, ng},
		{"history", `{"conversation":"` + between + `"}`, 0},
		{"history", `{"conversation":"theirs"}`, nm},
		{"history", `{"peer":"bob","before":"` + message + `"}`, 0},
		{"status", `{"peers":["carol"]}`, 0}, // needs no watch (spec 6)
	} {
		reply := alice.ask(row.verb, row.request)
		if reply.Code != row.want {
			t.Errorf("%s %s: %d %s, want %d", row.verb, row.request, reply.Code, reply.Error, row.want)
		}
		for _, m := range reply.Messages {
			if m.Message == "secret" {
				t.Errorf("%s %s tells what others said: %+v", row.verb, row.request, m)
			}
		}
	}
}

// Every call of REST, as the server's own description lists them, so that one to come is tried too: nobody gets in without a credential, with
// another app's, or with a wrong one, and an app's key opens nothing of the operators.
func TestEveryRESTCallStaysInItsApp(t *testing.T) {
	t.Parallel()
	mine, foreign := newApp(t), newApp(t)
	sent := foreign.rest(t, http.MethodPost, "/messages", `{"from":"alice","to":["bob"],"message":"secret"}`)
	message := sent.MessageID
	operate(t, foreign, `{"id":"abroad","members":["alice","bob"]}`)
	_, text := mine.call(t, http.MethodGet, "/openapi.json", "", "")
	var document struct{ Paths map[string]map[string]any }
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	open := []string{"/healthz", "/readyz", "/openapi.json"}
	basic := func(id, key string) string { return "Basic " + basicOf(id, key) }
	calls := 0
	address := func(call int, who string) string { return fmt.Sprintf("127.6.%d.%d", call, 1+len(who)) } // or it would be throttled
	for path, methods := range document.Paths {
		if slices.Contains(open, path) {
			continue
		}
		path = strings.NewReplacer("{app}", foreign.id, "{peer}", "bob", "{group}", "abroad", "{id}", message, "{device}", "default", "{node}", "test").Replace(path)
		for method := range methods {
			calls++
			for who, attempt := range map[string]struct {
				authorization string
				want          int
			}{
				"nobody":           {"", http.StatusUnauthorized},
				"another app":      {basic(mine.id, mine.key), http.StatusForbidden},
				"a wrong token":    {"Bearer " + masterKey, http.StatusUnauthorized},
				"an empty key":     {basic(foreign.id, ""), http.StatusUnauthorized},
				"somebody as none": {basic("", foreign.key), http.StatusUnauthorized},
			} {
				if status, answer := callFrom(t, address(calls, who), foreign.server, strings.ToUpper(method), path, attempt.authorization); status != attempt.want || strings.Contains(string(answer), "secret") {
					t.Errorf("%s %s as %s: %d %s", method, path, who, status, answer)
				}
			}
			if !strings.Contains(path, "/apps/"+foreign.id) {
				if status, _ := mine.call(t, strings.ToUpper(method), path, "", basic(foreign.id, foreign.key)); status != http.StatusForbidden {
					t.Errorf("%s %s with an app's key: %d", method, path, status)
				}
			}
		}
	}
	if calls < 30 {
		t.Errorf("only %d calls are described", calls)
	}
	// Names of the foreign app are nothing in one's own.
	for path, want := range map[string]int{
		"/messages/" + message: 404, "/groups/abroad": 404, "/groups/abroad/members": 404, "/messages/" + message + "/trace": 404,
	} {
		if status, answer := mine.call(t, http.MethodGet, "/v1/apps/"+mine.id+path, "", basic(mine.id, mine.key)); status != want {
			t.Errorf("%s: %d %s", path, status, answer)
		}
	}
	if status, _ := mine.call(t, http.MethodDelete, "/v1/apps/"+mine.id+"/messages/"+message, "", basic(mine.id, mine.key)); status != 404 {
		t.Errorf("deleting another app's message: %d", status)
	}
	foreign.rest(t, http.MethodGet, "/messages/"+message, "") // is still there
	for _, query := range []string{"", "?conversation=" + sent.Conversation, "?peers=alice,bob", "?peer=alice", "?from=alice", "?group=abroad"} {
		if _, answer := mine.call(t, http.MethodGet, "/v1/apps/"+mine.id+"/messages"+query, "", basic(mine.id, mine.key)); strings.Contains(string(answer), "secret") {
			t.Errorf("history%s: %s", query, answer)
		}
	}
}

// callFrom makes a call without a body from another of this machine's addresses.
func callFrom(t *testing.T, addr string, s *server, method, path, authorization string) (int, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.HTTP+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", authorization)
	r.Close = true
	conn := dialFrom(t, addr, s.HTTP)
	defer conn.Close()
	if err := r.Write(conn); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), r)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, body
}
