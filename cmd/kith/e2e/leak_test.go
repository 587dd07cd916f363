package e2e_test

import (
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	packets3 "github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/eclipse/paho.golang/packets"
)

// After 10,000 connections of every ending no goroutine and no descriptor is left over.
func TestTenThousandConnectionsLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	s := startWith(t, &config{dir: t.TempDir(), apps: []string{"{id: demo, master_key: " + masterKey + "}"}, args: []string{"--log-level", "warn", "--set", "store.sync=false"}})
	level := func(name string) (n float64) {
		t.Helper()
		if _, err := fmt.Sscan(s.metric(t, name), &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	cycle := func(from, to int) {
		var clients sync.WaitGroup
		const workers = 20
		for w := range workers {
			clients.Go(func() {
				for i := from + w; i < to; i += workers {
					if err := comeAndGo(s.MQTT, i, w); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		clients.Wait()
	}
	cycle(0, 500) // what is made once is made now
	waitUntil(t, "sessions stay", func() bool { return level("kith_sessions") == 0 })
	goroutines, descriptors := level("go_goroutines"), level("process_open_fds")
	cycle(500, 10_500)
	const slack = 20 // of the server's own work: compaction, timers, the connections of this test
	waitUntil(t, "goroutines, descriptors or sessions are left over", func() bool {
		return level("kith_sessions") == 0 && level("go_goroutines") <= goroutines+slack && level("process_open_fds") <= descriptors+slack
	})
}

// comeAndGo opens a session and ends it in one of four ways.
func comeAndGo(addr string, i, worker int) error {
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * patience))
	if i%4 == 0 { // never says CONNECT
		_, err = conn.Write([]byte{0x10, 0x7f})
		return err
	}
	cp := &packets.Connect{
		ProtocolName: "MQTT", ProtocolVersion: 5, ClientID: fmt.Sprintf("peer%d", worker), CleanStart: true, UsernameFlag: true, Username: "demo",
		Properties: &packets.Properties{},
	}
	if _, err = cp.WriteTo(conn); err != nil {
		return err
	}
	if _, err = packets.ReadPacket(conn); err != nil {
		return fmt.Errorf("connection %d: %w", i, err)
	}
	switch i % 4 {
	case 1:
		_, err = (&packets.Disconnect{Properties: &packets.Properties{}}).WriteTo(conn)
	case 2:
		_, err = conn.Write([]byte{0xF0 | byte(packets3.Connect), 0}) // the server ends it
	}
	return err
}
