package archive_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"kith/api/archive"
	"kith/broker"
)

func parse(t *testing.T, in string) archive.Record {
	t.Helper()
	r, err := archive.Parse([]byte(in))
	if err != nil {
		t.Fatalf("%s: %v", in, err)
	}
	return r
}

func same(t *testing.T, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(broker.Message{}), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMessagesOfTheOriginalService(t *testing.T) {
	const ts, at = 1408008498571, `"timestamp":1408008498571,"msg-id":"vdkGm4dtRNmhQ5gqUTFBiA"`
	base := func() *broker.Message {
		return &broker.Message{ID: broker.PastID(ts, "vdkGm4dtRNmhQ5gqUTFBiA"), From: "u1", QoS: 1, Payload: []byte("hi"), Original: "vdkGm4dtRNmhQ5gqUTFBiA"}
	}
	direct, several, room, conversation, binary := base(), base(), base(), base(), base()
	direct.To, direct.FromIP, direct.Receipt = []broker.PeerID{"u2"}, "114.219.127.186", true
	several.To = []broker.PeerID{"u2", "u3"}
	room.Group, conversation.Group = "5541c02ce4b0f83f4d44414e", "5541c02ce4b0f83f4d44414e"
	binary.To, binary.Payload = []broker.PeerID{"u2"}, []byte{0, 255}
	for name, test := range map[string]struct {
		in        string
		want      *broker.Message
		receiptAt int64
	}{
		"direct":                      {`{` + at + `,"conv-id":"219946ef32e40c515d33ae6975a5c593","data":"hi","app-id":"x","from":"u1","is-conv":false,"is-room":false,"to":"u2","bin":false,"from-ip":"114.219.127.186","ack-at":1408008498999}`, direct, 1408008498999},
		"to several":                  {`{` + at + `,"data":"hi","from":"u1","to":["u2","u3"]}`, several, 0},
		"a room of version 1":         {`{` + at + `,"data":"hi","from":"u1","is-room":true,"conv-id":"5541c02ce4b0f83f4d44414e","to":"5541c02ce4b0f83f4d44414e"}`, room, 0},
		"a conversation of version 2": {`{` + at + `,"data":"hi","from":"u1","is-conv":true,"conv-id":"5541c02ce4b0f83f4d44414e","to":"5541c02ce4b0f83f4d44414e"}`, conversation, 0},
		"binary":                      {`{` + at + `,"data":"AP8=","bin":true,"from":"u1","to":["u2"]}`, binary, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := parse(t, test.in)
			if r.Message == nil {
				t.Fatalf("%+v", r)
			}
			same(t, test.want, r.Message.Message)
			if r.Message.ReceiptAt != test.receiptAt || r.Message.ID.Time() != ts {
				t.Errorf("receipt at %d, accepted at %d", r.Message.ReceiptAt, r.Message.ID.Time())
			}
		})
	}
}

func TestAMessageOfAnotherKithKeepsItsID(t *testing.T) {
	id := broker.FirstIDAt(1408008498571)
	for at, want := range map[string]*broker.Message{
		"1408008498571": {ID: id, From: "u1", To: []broker.PeerID{"u2"}, QoS: 1, Payload: []byte("hi")},
		"1408008498572": { // of that form only by chance
			ID: broker.PastID(1408008498572, id.String()), From: "u1", To: []broker.PeerID{"u2"}, QoS: 1, Payload: []byte("hi"), Original: id.String(),
		},
	} {
		same(t, want, parse(t, `{"timestamp":`+at+`,"msg-id":"`+id.String()+`","data":"hi","from":"u1","to":["u2"]}`).Message.Message)
	}
}

func TestRowsOfTheOriginalTables(t *testing.T) {
	r := parse(t, `{"objectId":"5541c02c","m":["u1","u2"],"tr":false,"topic":"tea","createdAt":"2014-10-08T02:29:21.417Z","updatedAt":"2014-10-09T02:29:21.417Z","ACL":{"*":{"read":true}}}`)
	created := int64(1412735361417)
	same(t, archive.Record{
		Group:   &broker.Group{ID: "5541c02c", Created: created, Attributes: []byte(`{"topic":"tea"}`)},
		Members: []broker.Member{{Peer: "u1", Joined: created}, {Peer: "u2", Joined: created}},
	}, r)
	r = parse(t, `{"objectId":"5541c02d","m":["u1"],"c":"u1","name":"Tea","attr":{"a":1,"lm":2},"lm":3,"mu":["u1"],"createdAt":{"__type":"Date","iso":"2014-10-08T02:29:21.417Z"}}`)
	same(t, archive.Record{
		Group:   &broker.Group{ID: "5541c02d", Name: "Tea", Creator: "u1", Created: created, Attributes: []byte(`{"a":1,"lm":2,"mu":["u1"]}`)},
		Members: []broker.Member{{Peer: "u1", Joined: created}},
	}, r)
	r = parse(t, `{"objectId":"5541c02e","m":["u1"],"tr":true}`)
	same(t, archive.Record{Group: &broker.Group{ID: "5541c02e", Open: true, Attributes: []byte(`{}`)}}, r)
}

func TestWhatIsNoRecordSaysWhy(t *testing.T) {
	for in, why := range map[string]string{
		`{`:                                      "no JSON object",
		`[1]`:                                    "no JSON object",
		"{\"a\":\"\xff\"}":                       "UTF-8",
		`{"a":1}`:                                "neither",
		`{"type":"nonsense"}`:                    "nonsense",
		`{"type":"group","group":"g","extra":1}`: "extra",
		`{"id":"054s30bo800000000000","ts":1,"from":"a","to":["b"],"message":"x"}`:                                "ts is not",
		`{"id":"nonsense","ts":1,"from":"a","to":["b"],"message":"x"}`:                                            "not a message id",
		`{"id":"054s30bo800000000000","ts":1416290728000,"from":"a","to":["b"]}`:                                  "not just one",
		`{"id":"054s30bo800000000000","conversation":"x","ts":1416290728000,"from":"a","to":["b"],"message":"x"}`: "conversation is not",
		`{"msg-id":"a","data":"x","from":"u1","to":"u2"}`:                                                         "timestamp",
		`{"timestamp":1,"conv-id":"a","data":"x","from":"u1","to":"u2"}`:                                          "msg-id",
		`{"timestamp":1,"msg-id":"a","from":"u1","to":"u2"}`:                                                      "data is missing",
		`{"timestamp":1,"msg-id":"a","data":"?","bin":true,"from":"u1","to":"u2"}`:                                "base64",
		`{"objectId":"x","m":"u1"}`:                                                                               "column",
		`{"objectId":"x","createdAt":"yesterday"}`:                                                                "createdAt",
	} {
		if r, err := archive.Parse([]byte(in)); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %+v, %v; want %q", in, r, err, why)
		}
	}
}
