package legacy_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"kith/broker"
)

func TestAMessageIsTransientUnlessItSaysOtherwise(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	bob := s.open("2b")
	for _, c := range []struct {
		transient string
		kept      int
	}{{"", 0}, {`,"transient":true`, 0}, {`,"transient":null`, 0}, {`,"transient":false`, 1}} {
		s.call(asMaster, "POST", "/rtm/messages", `{"from_peer":"1a","message":"helloworld","to_peers":["2b","3c"]`+c.transient+`}`).empty()
		if got := bob.message(); got != "helloworld" {
			t.Errorf("%q: %q came", c.transient, got)
		}
		if got := s.logs(asMaster, ""); len(got) != c.kept {
			t.Errorf("%q: history has %d messages, want %d", c.transient, len(got), c.kept)
		}
	}
}

func TestRichTextGoesThroughAsItIs(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	s.group(broker.NewGroup{ID: "5552c0c6e4b0846760927d5a", Members: []broker.PeerID{"1a"}})
	const rich = `{"_lctype":-1,"_lctext":"这是一个纯文本消息","_lcattrs":{"a":"_lcattrs 是用来存储用户自定义的一些键值对"}}`
	text, _ := json.Marshal(rich)
	// push_data and priority have no effect.
	s.call(asMaster, "POST", "/rtm/messages", fmt.Sprintf(
		`{"from_peer":"1a","message":%s,"conv_id":"5552c0c6e4b0846760927d5a","transient":false,"push_data":{"alert":"x"},"priority":"high"}`, text)).empty()
	if got := s.logs(asMaster, "?convid=5552c0c6e4b0846760927d5a"); len(got) != 1 || got[0].Data != rich {
		t.Errorf("records: %+v", got)
	}
}

func TestNoSyncKeepsAMessageFromTheSendersDevices(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	alice := s.open("1a")
	s.group(broker.NewGroup{ID: "team", Members: []broker.PeerID{"1a", "2b"}})
	for _, to := range []string{`"to_peers":["2b"]`, `"group_id":"team"`} {
		for _, transient := range []string{"true", "false"} {
			for _, noSync := range []string{"true", "false"} {
				s.call(asMaster, "POST", "/rtm/messages", fmt.Sprintf(
					`{"from_peer":"1a","message":"no_sync %s","transient":%s,"no_sync":%s,%s}`, noSync, transient, noSync, to)).empty()
			}
			if got := alice.message(); got != "no_sync false" {
				t.Errorf("%s, transient %s: %q came", to, transient, got)
			}
		}
	}
}

func TestWrongMessagesAreRefused(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	s.group(broker.NewGroup{ID: "team", Members: []broker.PeerID{"1a"}})
	peers := func(n int) string {
		ids := make([]string, n)
		for i := range ids {
			ids[i] = fmt.Sprintf(`"p%d"`, i)
		}
		return "[" + strings.Join(ids, ",") + "]"
	}
	s.call(asMaster, "POST", "/rtm/messages", `{"from_peer":"1a","message":"x","to_peers":`+peers(20)+`}`).empty()
	for _, c := range []struct {
		body         string
		status, code int
	}{
		{`{"from_peer":"1a","message":"x","to_peers":` + peers(21) + `}`, 422, 4113},
		{`{"message":"x","to_peers":["2b"]}`, 400, 4103},
		{`{"from_peer":"1/a","message":"x","to_peers":["2b"]}`, 400, 4103},
		{`{"from_peer":"1a","to_peers":["2b"]}`, 400, 4114},
		{`{"from_peer":"1a","message":"x"}`, 400, 4114},
		{`{"from_peer":"1a","message":"x","to_peers":[]}`, 400, 4114},
		{`{"from_peer":"1a","message":"x","to_peers":["2b","2b"]}`, 400, 4114},
		{`{"from_peer":"1a","message":"x","to_peers":["2b"],"group_id":"team"}`, 400, 4114},
		{`{"from_peer":"1a","message":"x","to_peers":["2b"],"conv_id":"team"}`, 400, 4114},
		{`{"from_peer":"1a","message":"x","group_id":"team","conv_id":"team"}`, 400, 4114},
		{`{"from_peer":"1a","message":{"_lctype":-1},"to_peers":["2b"]}`, 400, 4114},
		{`{"from_peer":"1a","message":"x","to_peers":["2b"],"transient":"false"}`, 400, 4114},
		{`{"from_peer":"1a","message":"x","group_id":"ghost"}`, 404, 4303},
		{`{"from_peer":"2b","message":"x","group_id":"team"}`, 403, 4317},
		{`{"from_peer":"1a","message":"` + strings.Repeat("x", 5121) + `","to_peers":["2b"]}`, 413, 4109},
		{`{"from_peer":"1a","message":"x","padding":"` + strings.Repeat("x", 16<<10) + `"}`, 413, 4109},
		{`{`, 400, 4114},
		{`[]`, 400, 4114},
		{``, 400, 4114},
	} {
		s.call(asMaster, "POST", "/rtm/messages", c.body).refused(c.status, c.code)
	}
	if got := s.logs(asMaster, ""); len(got) != 0 {
		t.Errorf("a refused message is in history: %+v", got)
	}
}
