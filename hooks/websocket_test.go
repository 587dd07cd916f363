package hooks

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/mochi-mqtt/server/v2/packets"

	"kith/broker"
)

func (ts *testServer) dialWebSocket(t *testing.T, protocols ...string) *websocket.Conn {
	t.Helper()
	web := httptest.NewServer(ts.WebSocketHandler())
	t.Cleanup(web.Close)
	d := websocket.Dialer{Subprotocols: protocols}
	ws, _, err := d.Dial("ws"+strings.TrimPrefix(web.URL, "http"), map[string][]string{"Origin": {"https://elsewhere.example"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.Close() })
	return ws
}

func TestWebSocket(t *testing.T) {
	for _, protocol := range []string{"mqtt", "mqttv3.1"} {
		ts := startServer(t)
		ws := ts.dialWebSocket(t, protocol)
		if ws.Subprotocol() != protocol {
			t.Errorf("subprotocol %q", ws.Subprotocol())
		}
		c := &rawClient{t: t, nc: newWebSocket(ws), version: 5}
		var b []byte
		for _, pk := range []packets.Packet{connectPacket(5, "alice"), publishPacket(1, 1, "demo/x", strings.Repeat("z", 5000)), publishPacket(1, 2, "demo/x", "")} {
			b = append(b, encodePacket(t, 5, pk)...)
		}
		for len(b) > 0 { // packets begin and end anywhere in frames [MQTT-6.0.0-2] [MQTT3-6.0.0-2]
			n := min(len(b), 333)
			c.raw(b[:n]...)
			b = b[n:]
		}
		c.expect(packets.Connack)
		c.expect(packets.Puback)
		c.expect(packets.Puback)
		if r := ts.request("alice"); r.Transport != "ws" || r.Remote != "127.0.0.1" {
			t.Errorf("%+v", r)
		}
		f := ts.session(t, "alice")
		f.send(broker.Out{Kind: broker.OutPublish, Topic: "big", Payload: make([]byte, 100_000)})
		c.expect(packets.Publish)
		c.raw(0xE0, 0)
		expectEnded(t, f, broker.EndDisconnect)
	}
}

func TestWebSocketTakesBinaryFramesOnly(t *testing.T) { // [MQTT-6.0.0-1] [MQTT3-6.0.0-1]
	ts := startServer(t)
	ws := ts.dialWebSocket(t, "mqtt")
	if err := ws.WriteMessage(websocket.TextMessage, encodePacket(t, 4, connectPacket(4, "alice"))); err != nil {
		t.Fatal(err)
	}
	_ = ws.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, _, err := ws.ReadMessage(); err == nil {
		t.Error("it was answered")
	}
}

func TestWebSocketNeedsTheSubprotocol(t *testing.T) { // [MQTT-6.0.0-3] [MQTT-6.0.0-4] [MQTT3-6.0.0-4]
	ts := startServer(t)
	web := httptest.NewServer(ts.WebSocketHandler())
	defer web.Close()
	_, resp, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(web.URL, "http"), nil)
	if err == nil || resp == nil || resp.StatusCode != 400 {
		t.Errorf("%v %v", resp, err)
	}
}

func TestWebSocketPings(t *testing.T) {
	ts := startServer(t)
	ws := ts.dialWebSocket(t, "mqtt")
	pinged := make(chan struct{}, 1)
	answer := ws.PingHandler()
	ws.SetPingHandler(func(s string) error {
		pinged <- struct{}{}
		return answer(s)
	})
	c := &rawClient{t: t, nc: newWebSocket(ws), version: 4}
	c.send(connectPacket(4, "alice"))
	c.expect(packets.Connack)
	go func() { _, _ = c.read() }()
	ts.sweepWebSockets(time.Now())
	select {
	case <-pinged:
	case <-time.After(10 * time.Second):
		t.Fatal("no ping")
	}
	ts.sweepWebSockets(time.Now().Add(webSocketSilence + 2*time.Second))
	expectEnded(t, ts.session(t, "alice"), broker.EndLost)
}

// TestTrap11StalledWebSocket: as over TCP, a take-over waits for no socket.
func TestTrap11StalledWebSocket(t *testing.T) {
	ts := startServer(t)
	ws := ts.dialWebSocket(t, "mqtt")
	c := &rawClient{t: t, nc: newWebSocket(ws), version: 5}
	c.send(connectPacket(5, "alice"))
	c.expect(packets.Connack)
	f := ts.session(t, "alice")
	for range 500 {
		f.send(broker.Out{Kind: broker.OutPublish, Topic: "t", Payload: make([]byte, 64<<10)})
	}
	eventually(t, "the writer is stuck", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.out) > 0 && len(f.out) < 500
	})
	f.link.Close(broker.CloseTakenOver)
	begin := time.Now()
	expectEnded(t, f, broker.EndServer)
	if d := time.Since(begin); d > 200*time.Millisecond {
		t.Errorf("it took %v", d)
	}
}

func TestWebSocketServerCloses(t *testing.T) {
	ts := startServer(t)
	ws := ts.dialWebSocket(t, "mqtt")
	c := &rawClient{t: t, nc: newWebSocket(ws), version: 5}
	c.send(connectPacket(5, "alice"))
	c.expect(packets.Connack)
	ts.session(t, "alice").link.Close(broker.CloseKicked)
	c.expectEnd(0x98)
}
