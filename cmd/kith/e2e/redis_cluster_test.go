package e2e_test

import (
	"testing"

	"kith/broker/redisstore/redistest"
)

// A Redis Cluster of three masters loses one of them under load and gets it back. What needs it is refused or held meanwhile, then
// everything goes on by itself, and nothing acknowledged is missing. Two nodes on it are one system.
func TestRedisClusterUnderLoad(t *testing.T) {
	t.Parallel()
	masters := redistest.StartCluster(t)
	at := addrs(redistest.Addrs(masters)...)
	a, b := onRedis(t, at), onRedis(t, at)
	alice, erin := open(t, a, "alice", opening{password: watching("erin")}), open(t, b, "erin", opening{})
	group := alice.does("join", `{}`).Group
	alice.does("invite", `{"group":"`+group+`","peers":["erin"]}`)

	f := startTraffic(t, a)
	for _, master := range masters[1:] {
		f.goesOn(50)
		refused := f.refused.Load()
		master.Kill()
		waitUntil(t, "/readyz stays ready without a master", func() bool { return !a.ready(t) })
		master.Again(t)
		waitUntil(t, "/readyz stays unready", func() bool { return a.ready(t) && b.ready(t) })
		t.Logf("%d refused", f.refused.Load()-refused)
	}
	f.goesOn(50)
	f.end(a)
	alice.send("peer/erin/alice", "direct")
	erin.wants("peer/erin/alice", "direct")
	alice.send("group/"+group+"/alice", "to all")
	erin.wants("group/"+group+"/alice", "to all")
}
