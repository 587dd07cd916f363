package api_test

import (
	"encoding/json"
	"testing"

	"kith/broker"
)

type signed struct {
	Timestamp int64  `json:"timestamp"`
	Nonce     string `json:"nonce"`
	Signature string `json:"signature"`
	Password  string `json:"password"`
}

func TestASignatureOpensASignedApp(t *testing.T) {
	s := start(t)
	cfg, _ := s.broker.App("demo")
	cfg.Signature.Required = true
	s.broker.SetApps([]broker.AppConfig{cfg})
	var got signed
	s.call(admin, "POST", "/v1/apps/demo/signatures", sendBody{"peer": "1", "watch": []string{"2", "3"}}).ok(200, &got)
	if want := broker.SignOpen("demo-key", "demo", "1", []broker.PeerID{"2", "3"}, got.Timestamp, got.Nonce, false); got.Signature != want {
		t.Errorf("signature %s, want %s", got.Signature, want)
	}
	d := &device{closed: make(chan broker.CloseReason, 1)}
	session, _, err := s.broker.Open(t.Context(), &broker.OpenRequest{App: "demo", ClientID: "1", Version: 5, Password: []byte(got.Password)}, d)
	if err != nil {
		t.Fatalf("the password did not open: %v", err)
	}
	session.End(broker.EndDisconnect, nil)
}

// Only a watch list that was given goes into the password: an empty one would end watches.
func TestWithoutAWatchListThePasswordHasNone(t *testing.T) {
	s := start(t)
	for body, want := range map[string]bool{`{"peer":"1"}`: false, `{"peer":"1","watch":[]}`: true} {
		var got signed
		s.call(demo, "POST", "/v1/apps/demo/signatures", body).ok(200, &got)
		var password map[string]any
		if err := json.Unmarshal([]byte(got.Password), &password); err != nil {
			t.Fatal(err)
		}
		if _, has := password["watch"]; has != want {
			t.Errorf("%s made %s", body, got.Password)
		}
	}
}

func TestAGroupActionIsSigned(t *testing.T) {
	s := start(t)
	var got signed
	s.call(demo, "POST", "/v1/apps/demo/signatures", sendBody{"peer": "1", "group": "g", "peers": []string{"3", "2"}, "action": "invite"}).ok(200, &got)
	want := broker.SignGroup("demo-key", "demo", "1", "g", []broker.PeerID{"2", "3"}, got.Timestamp, got.Nonce, "invite")
	if got.Signature != want || got.Password != "" {
		t.Errorf("%+v, want %s", got, want)
	}
}

func TestSignaturesRefuseWhatTheyDoNotUnderstand(t *testing.T) {
	s := start(t)
	for body, code := range map[string]int{
		`{}`:                                         4114,
		`{"peer":"a b"}`:                             4103,
		`{"peer":"a","watch":["b","b"]}`:             4114,
		`{"peer":"a","watch":["b/c"]}`:               4114,
		`{"peer":"a","watch":"b"}`:                   4114,
		`{"peer":"a","group":"g"}`:                   4114,
		`{"peer":"a","action":"dance"}`:              4114,
		`{"peer":"a","action":"join","watch":["b"]}`: 4114,
		`{"peer":"a","action":"kick","group":"a/b"}`: 4114,
		`{"peer":"a","key":"k"}`:                     4114,
	} {
		s.call(demo, "POST", "/v1/apps/demo/signatures", body).refused(400, code)
	}
}
