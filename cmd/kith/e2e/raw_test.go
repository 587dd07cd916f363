package e2e_test

import (
	"bytes"
	"io"
	"net"
	"strconv"
	"testing"
	"time"

	packets3 "github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/eclipse/paho.golang/packets"
)

// raw is a bare socket: for what stock clients do not do, or do not show.
type raw struct {
	t testing.TB
	net.Conn
}

func rawConn(t testing.TB, addr string) *raw {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return (&raw{t, conn}).patient()
}

// patient bounds what comes next.
func (r *raw) patient() *raw {
	_ = r.SetDeadline(time.Now().Add(patience)) // one that is closed says so when it is used
	return r
}

func (r *raw) bytes(b ...byte) {
	r.t.Helper()
	if _, err := r.patient().Write(b); err != nil {
		r.t.Fatal(err)
	}
}

// write writes a packet of either library.
func (r *raw) write(p any) {
	r.t.Helper()
	var b bytes.Buffer
	var err error
	switch p := p.(type) {
	case io.WriterTo:
		_, err = p.WriteTo(&b)
	case packets3.ControlPacket:
		err = p.Write(&b)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	r.bytes(b.Bytes()...)
}

// read5 reads an MQTT 5 packet's content.
func (r *raw) read5() any {
	r.t.Helper()
	p, err := packets.ReadPacket(r.patient())
	if err != nil {
		r.t.Fatal(err)
	}
	return p.Content
}

// read3 reads an MQTT 3.1.1 packet.
func (r *raw) read3() packets3.ControlPacket {
	r.t.Helper()
	p, err := packets3.ReadPacket(r.patient())
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

// closes checks that the server ends the connection, after whatever it still says.
func (r *raw) closes() {
	r.t.Helper()
	if _, err := io.Copy(io.Discard, r.patient()); err != nil {
		if timeout, ok := err.(net.Error); ok && timeout.Timeout() { //nolint:errorlint // as net returns it
			r.t.Fatal("the connection stays open")
		}
	}
}

// open5 opens an MQTT 5 session and returns its CONNACK. edit may change the CONNECT.
func open5(t testing.TB, a *app, clientID, password string, edit ...func(*packets.Connect)) (*raw, *packets.Connack) {
	t.Helper()
	r := rawConn(t, a.MQTT)
	problems := byte(1)
	cp := &packets.Connect{
		ProtocolName: "MQTT", ProtocolVersion: 5, ClientID: clientID, KeepAlive: 60, UsernameFlag: true, Username: a.id,
		PasswordFlag: password != "", Password: []byte(password), Properties: &packets.Properties{RequestProblemInfo: &problems},
	}
	for _, e := range edit {
		e(cp)
	}
	r.write(cp)
	ack, ok := r.read5().(*packets.Connack)
	if !ok || ack.ReasonCode != 0 {
		t.Fatalf("%s is refused: %+v", clientID, ack)
	}
	return r, ack
}

// open3 opens an MQTT 3.1.1 session.
func open3(t testing.TB, a *app, clientID, password string, edit ...func(*packets3.ConnectPacket)) *raw {
	t.Helper()
	r := rawConn(t, a.MQTT)
	cp, _ := packets3.NewControlPacket(packets3.Connect).(*packets3.ConnectPacket)
	cp.ProtocolName, cp.ProtocolVersion, cp.ClientIdentifier, cp.Keepalive = "MQTT", 4, clientID, 60
	cp.CleanSession, cp.UsernameFlag, cp.Username = true, true, a.id
	cp.PasswordFlag, cp.Password = password != "", []byte(password)
	for _, e := range edit {
		e(cp)
	}
	r.write(cp)
	ack, ok := r.read3().(*packets3.ConnackPacket)
	if !ok || ack.ReturnCode != 0 {
		t.Fatalf("%s is refused: %+v", clientID, ack)
	}
	return r
}

func publish3(topic, payload string, qos byte, id uint16) *packets3.PublishPacket {
	p, _ := packets3.NewControlPacket(packets3.Publish).(*packets3.PublishPacket)
	p.TopicName, p.Payload, p.Qos, p.MessageID = topic, []byte(payload), qos, id
	return p
}

func publish5(topic, payload string, qos byte, id uint16, user ...packets.User) *packets.Publish {
	return &packets.Publish{Topic: topic, Payload: []byte(payload), QoS: qos, PacketID: id, Properties: &packets.Properties{User: user}}
}

// until5 reads packets until one is of type T and wanted.
func until5[T any](r *raw, wanted func(T) bool) T {
	r.t.Helper()
	for {
		if p, ok := r.read5().(T); ok && wanted(p) {
			return p
		}
	}
}

// until3 does the same with MQTT 3.1.1.
func until3[T packets3.ControlPacket](r *raw, wanted func(T) bool) T {
	r.t.Helper()
	for {
		if p, ok := r.read3().(T); ok && wanted(p) {
			return p
		}
	}
}

// anyOf wants any packet.
func anyOf[T any](T) bool { return true }

// hears checks that the next n messages are the numbers from 0 on.
func hears(t testing.TB, name string, r *raw, n int) {
	t.Helper()
	for i := range n {
		p := until5(r, func(p *packets.Publish) bool { return p.QoS > 0 })
		if string(p.Payload) != strconv.Itoa(i) {
			t.Fatalf("%s hears %q, want %d", name, p.Payload, i)
		}
		r.write(&packets.Puback{PacketID: p.PacketID, Properties: &packets.Properties{}})
	}
}
