package redisstore_test

import (
	"syscall"
	"testing"
	"time"

	"kith/broker"
	"kith/broker/redisstore"
	"kith/broker/redisstore/redistest"
)

// What docs/durability.md says of a lost master: without wait_replicas exactly what its replica had not got can be lost, with it
// nothing. The replica stands still while the last messages are sent, and then takes the master's place.
func TestFailoverLosesWhatTheReplicaLacked(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		wait int
		lost bool
	}{{"wait_replicas 0", 0, true}, {"wait_replicas 1", 1, false}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			master := redistest.Start(t, "--appendfsync", "everysec")
			replica := redistest.Start(t, "--appendfsync", "everysec", "--replicaof", "127.0.0.1", master.Port())
			client := replica.Client()
			defer client.Close()
			s := openNew(t, redisstore.Config{Addrs: []string{master.Addr}, WaitReplicas: tt.wait}, redisstore.Options{Timeout: 2 * time.Second})
			acknowledged := 0
			send := func() {
				if err := within(t, begin(s, &broker.Batch{Appends: []broker.Append{direct("tom", text("%d", acknowledged), "bob")}})); err == nil {
					acknowledged++
				}
			}
			const before, behind = 50, 30
			for end := time.Now().Add(patience); acknowledged < before && time.Now().Before(end); {
				send()
			}
			followed := client.LLen(t.Context(), "kith{0}:i:demo:bob")
			for end := time.Now().Add(patience); followed.Val() < before && time.Now().Before(end); {
				followed = client.LLen(t.Context(), "kith{0}:i:demo:bob")
			}
			replica.Signal(syscall.SIGSTOP)
			for range behind {
				if send(); tt.wait > 0 {
					break // each takes the whole of its time
				}
			}
			master.Kill()
			replica.Signal(syscall.SIGCONT)
			if err := client.ReplicaOf(t.Context(), "no", "one").Err(); err != nil {
				t.Fatal(err)
			}
			promoted := openNew(t, redisstore.Config{Addrs: []string{replica.Addr}}, redisstore.Options{})
			kept := len(read(t, promoted, broker.LogInbox, "bob"))
			t.Logf("acknowledged %d, %d of them while the replica stood still; kept %d, lost %d", acknowledged, acknowledged-before, kept, max(0, acknowledged-kept))
			if kept < before {
				t.Errorf("%d are kept of the %d that the replica had", kept, before)
			}
			if !tt.lost && kept < acknowledged {
				t.Errorf("%d are kept of the %d acknowledged", kept, acknowledged)
			}
		})
	}
}
