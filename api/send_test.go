package api_test

import (
	"fmt"
	"strings"
	"testing"
)

func TestSendAnswersIDTimeAndConversation(t *testing.T) {
	s := start(t)
	var sent struct {
		MessageID    string `json:"message_id"`
		TS           int64  `json:"ts"`
		Conversation string `json:"conversation"`
	}
	s.call(demo, "POST", "/v1/apps/demo/messages", sendBody{"from": "u1234", "to": []string{"u0988"}, "message": "x"}).ok(200, &sent)
	if len(sent.MessageID) == 0 || len(sent.MessageID) > 26 || now()-sent.TS > 60_000 || sent.Conversation != hex32 {
		t.Errorf("%+v", sent)
	}
}

func TestTheSendersOwnIDIsSentOnce(t *testing.T) {
	s := start(t)
	body := sendBody{"from": "alice", "to": []string{"bob"}, "message": "once", "client_id": "order-7"}
	var first, second map[string]any
	s.call(demo, "POST", "/v1/apps/demo/messages", body).ok(200, &first)
	s.call(demo, "POST", "/v1/apps/demo/messages", body).ok(200, &second)
	if first["message_id"] != second["message_id"] {
		t.Errorf("%v and %v", first, second)
	}
	if got := all[message](s, "/v1/apps/demo/messages", "10"); len(got) != 1 {
		t.Errorf("%d messages", len(got))
	}
}

func TestATransientMessageIsKeptNowhere(t *testing.T) {
	s := start(t)
	s.call(demo, "POST", "/v1/apps/demo/messages", sendBody{"from": "alice", "to": []string{"bob"}, "message": "now", "transient": true}).ok(200, nil)
	if got := all[message](s, "/v1/apps/demo/messages", "10"); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

func TestSendRefusesWhatItDoesNotUnderstand(t *testing.T) {
	s := start(t)
	many := strings.Split(strings.TrimSuffix(strings.Repeat("p%d,", 21), ","), ",")
	for i := range many {
		many[i] = fmt.Sprintf(many[i], i)
	}
	for name, c := range map[string]struct {
		body         any
		status, code int
	}{
		"nothing":              {"", 400, 4114},
		"not JSON":             {"{", 400, 4114},
		"not an object":        {"[]", 400, 4114},
		"null":                 {"null", 400, 4114},
		"two values":           {`{"from":"a","to":["b"],"message":"x"}{}`, 400, 4114},
		"not UTF-8":            {"{\"from\":\"a\",\"to\":[\"b\"],\"message\":\"\xff\"}", 400, 4114},
		"no sender":            {sendBody{"to": []string{"b"}, "message": "x"}, 400, 4114},
		"no receiver":          {sendBody{"from": "a", "message": "x"}, 400, 4114},
		"an empty list":        {sendBody{"from": "a", "to": []string{}, "message": "x"}, 400, 4114},
		"no message":           {sendBody{"from": "a", "to": []string{"b"}}, 400, 4114},
		"message and data":     {sendBody{"from": "a", "to": []string{"b"}, "message": "x", "data": "eA=="}, 400, 4114},
		"to and group":         {sendBody{"from": "a", "to": []string{"b"}, "group": "g", "message": "x"}, 400, 4114},
		"data not base64":      {sendBody{"from": "a", "to": []string{"b"}, "data": "!"}, 400, 4114},
		"a wrong type":         {sendBody{"from": "a", "to": "b", "message": "x"}, 400, 4114},
		"an unknown field":     {sendBody{"from": "a", "to": []string{"b"}, "message": "x", "urgent": true}, 400, 4114},
		"a field's other case": {sendBody{"From": "a", "to": []string{"b"}, "message": "x"}, 400, 4114},
		"a repeated receiver":  {sendBody{"from": "a", "to": []string{"b", "b"}, "message": "x"}, 400, 4114},
		"an empty receiver":    {sendBody{"from": "a", "to": []string{""}, "message": "x"}, 400, 4114},
		"a bad sender":         {sendBody{"from": "a/b", "to": []string{"b"}, "message": "x"}, 400, 4103},
		"21 receivers":         {sendBody{"from": "a", "to": many, "message": "x"}, 422, 4113},
		"a long own id":        {sendBody{"from": "a", "to": []string{"b"}, "message": "x", "client_id": strings.Repeat("i", 65)}, 422, 4113},
		"5,121 bytes":          {sendBody{"from": "a", "to": []string{"b"}, "message": strings.Repeat("x", 5121)}, 413, 4109},
		"a receipt of many":    {sendBody{"from": "a", "to": []string{"b", "c"}, "message": "x", "receipt": true}, 422, 4401},
		"no such group":        {sendBody{"from": "a", "group": "ghosts", "message": "x"}, 404, 4303},
		"a bad group":          {sendBody{"from": "a", "group": hex32, "message": "x"}, 400, 4114},
	} {
		t.Run(name, func(t *testing.T) {
			s.TB = t
			s.call(demo, "POST", "/v1/apps/demo/messages", c.body).refused(c.status, c.code)
		})
	}
	s.TB = t
	if got := all[message](s, "/v1/apps/demo/messages", "10"); len(got) != 0 {
		t.Errorf("something was sent: %+v", got)
	}
	s.call(demo, "POST", "/v1/apps/demo/messages", sendBody{"from": "a", "to": many[:20], "message": strings.Repeat("x", 5120)}).ok(200, nil)
}

func TestABodyIsAtMost16KB(t *testing.T) {
	s := start(t)
	body := func(size int) string {
		frame := `{"peer":"a","watch":["b"]`
		return frame + strings.Repeat(" ", size-len(frame)-1) + "}"
	}
	s.call(demo, "POST", "/v1/apps/demo/signatures", body(16<<10)).ok(200, nil)
	s.call(demo, "POST", "/v1/apps/demo/signatures", body(16<<10+1)).refused(413, 4109)
}

func TestABodyMustBeJSON(t *testing.T) {
	s := start(t)
	r := s.request(demo, "POST", "/v1/apps/demo/messages", `{"from":"a","to":["b"],"message":"x"}`)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	s.do(r).refused(415, 415)
}
