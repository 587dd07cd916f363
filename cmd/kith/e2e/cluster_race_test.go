package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

// A nonce that two nodes are shown at once is accepted by one of them.
func TestANonceAtTwoNodesAtOnceIsAcceptedOnce(t *testing.T) {
	c := startCluster(t, 2, shortLease, ", signature: {required: true, replay: reject}")
	const rounds = 50
	accepted, refused := 0, 0
	for i := range rounds {
		nonce := fmt.Sprintf("once-%d", i)
		var both sync.WaitGroup
		var answers [2]*packets.Connack
		for node := range 2 {
			peer := "alice" // the same client twice, and two that have hit upon the same nonce
			if i%2 == 1 {
				peer = fmt.Sprintf("peer%d", node)
			}
			conn := rawConn(t, c.nodes[node].MQTT)
			password := c.at(node).password(signing{peer: peer, nonce: nonce})
			both.Go(func() {
				conn.write(connect5(fmt.Sprintf("%s/%d", peer, node), password, 0))
				answers[node], _ = conn.read5().(*packets.Connack)
			})
		}
		both.Wait()
		in := 0
		for _, ack := range answers {
			switch {
			case ack == nil:
				t.Fatal("no CONNACK")
			case ack.ReasonCode == 0:
				in++
			case ack.ReasonCode != 0x87:
				t.Errorf("refused with 0x%02X", ack.ReasonCode)
			}
		}
		accepted += in
		refused += len(answers) - in
		if in != 1 {
			t.Errorf("round %d: %d of 2 were accepted", i, in)
		}
	}
	t.Logf("%d nonces, each at two nodes at once: %d accepted, %d refused", rounds, accepted, refused)
}

// connect5 is a CONNECT to the app demo.
func connect5(clientID, password string, expiry uint32) *packets.Connect {
	problems := byte(1)
	return &packets.Connect{
		ProtocolName: "MQTT", ProtocolVersion: 5, ClientID: clientID, KeepAlive: 60, UsernameFlag: true, Username: "demo",
		PasswordFlag: password != "", Password: []byte(password),
		Properties: &packets.Properties{RequestProblemInfo: &problems, SessionExpiryInterval: &expiry},
	}
}

// A client id connects to two nodes at once, again and again: one connection stays, the others are told that they were taken over,
// watchers see nothing of it, and what is sent to the client meanwhile arrives, in order.
func TestOneClientIDAtTwoNodesAtOnce(t *testing.T) {
	c := startCluster(t, 2, shortLease, endless)
	watchers := []*client{
		open(t, c.at(0), "w0", opening{password: watching("roamer")}), open(t, c.at(1), "w1", opening{password: watching("roamer")}),
	}
	l := newLoad(c)
	l.every = 20 * time.Millisecond
	s0, s1 := l.sender("s0", 0, "peer/roamer"), l.sender("s1", 1, "peer/roamer")
	roamer := l.receiver("roamer", nowhere, s0, s1)
	const rounds = 200
	var staying *roamed
	for i := range rounds {
		var both sync.WaitGroup
		var fresh [2]*roamed
		for node := range 2 {
			both.Go(func() { fresh[node] = roamTo(roamer, node) })
		}
		both.Wait()
		alive := []*roamed{fresh[0], fresh[1]}
		if staying != nil {
			alive = append(alive, staying)
		}
		for _, x := range alive {
			if x == nil {
				t.Fatalf("round %d: a connection was refused", i)
			}
		}
		waitFor(t, endurance, fmt.Sprintf("round %d: not one connection stays", i), func() bool {
			alive = slices.DeleteFunc(alive, func(x *roamed) bool {
				select {
				case <-x.ended:
					if x.code != 0x8E {
						t.Errorf("round %d: a connection ends with 0x%02X", i, x.code)
					}
					return true
				default:
					return false
				}
			})
			return len(alive) <= 1
		})
		if len(alive) == 0 {
			t.Fatalf("round %d: no connection stays", i)
		}
		staying = alive[0]
		staying.settles()
	}
	l.moves(20)
	l.finish()
	for i, w := range watchers {
		if got := w.presence("roamer"); !slices.Equal(got, []string{"offline", "online"}) {
			t.Errorf("the watcher at node %d heard %v", i, got)
		}
	}
	select {
	case <-staying.ended:
		t.Errorf("the last connection ended with 0x%02X", staying.code)
	default:
	}
}

// roamed is one connection of a receiver.
type roamed struct {
	r     *loadReceiver
	conn  net.Conn
	ended chan struct{}
	code  byte // of DISCONNECT
}

// roamTo connects a receiver to a node as well; nil: it is refused.
func roamTo(r *loadReceiver, node int) *roamed {
	conn, err := net.DialTimeout("tcp", r.load.c.nodes[node].MQTT, patience)
	if err != nil {
		return nil
	}
	if err := r.open(conn); err != nil {
		r.load.t.Errorf("%s at node %d: %v", r.id, node, err)
		_ = conn.Close()
		return nil
	}
	x := &roamed{r: r, conn: conn, ended: make(chan struct{})}
	r.load.t.Cleanup(func() { _ = conn.Close() })
	go func() {
		defer close(x.ended)
		x.code = r.serve(conn)
	}()
	return x
}

// settles returns when the server has read the acknowledgements of what it had for the connection: what five connections leave
// unacknowledged is skipped.
func (x *roamed) settles() {
	t := x.r.load.t
	t.Helper()
	for range 2 {
		if _, err := (&packets.Pingreq{}).WriteTo(x.conn); err != nil {
			t.Fatal(err)
		}
		select {
		case <-x.r.pongs:
		case <-time.After(endurance):
			t.Fatal("no PINGRESP")
		}
	}
}

// Members are kicked at one node while others send at all: who is kicked hears nothing behind its kick, and all members hear
// everything in the same order.
func TestKicksRaceWithSendsAtOtherNodes(t *testing.T) {
	c := startCluster(t, 3, shortLease, endless)
	c.at(0).rest(t, http.MethodPost, "/groups", `{"id":"room","members":["boss","s0","s1","s2","m0","m1","m2"]}`)
	boss := open(t, c.at(1), "boss", opening{password: `{"receive":"none"}`})
	l := newLoad(c)
	var senders []*loadSender
	for i := range 3 {
		senders = append(senders, l.sender(fmt.Sprintf("s%d", i), i, "group/room"))
	}
	var members, victims []*loadReceiver
	for i := range 3 {
		members = append(members, l.receiver(fmt.Sprintf("m%d", i), i, senders...))
	}
	l.moves(10)
	for i := range 3 {
		v := l.receiver(fmt.Sprintf("v%d", i), i) // of which nothing is expected at any time
		waitFor(t, endurance, v.id+" does not connect", func() bool { return c.at(0).online(t, v.id) })
		victims = append(victims, v)
	}
	const rounds = 20
	for i := range rounds {
		boss.does("invite", `{"group":"room","peers":["v0","v1","v2"]}`)
		before := members[0].hears()
		waitFor(t, endurance, "nothing moves", func() bool { return members[0].hears() > before+10 })
		if i%2 == 0 {
			boss.does("kick", `{"group":"room","peers":["v0","v1","v2"]}`)
		} else {
			for _, v := range victims {
				c.at(0).rest(t, http.MethodDelete, "/groups/room/members/"+v.id, "")
			}
		}
	}
	l.moves(10)
	l.finish()
	for i, m := range members[1:] {
		if !slices.Equal(m.order, members[0].order) {
			t.Errorf("m%d heard another order than m0 (%d and %d entries)", i+1, len(m.order), len(members[0].order))
		}
	}
	heard := 0
	for _, v := range victims {
		heard += heardAsMember(t, members[0].order, v)
	}
	t.Logf("%d kicks of %d members: they heard %d messages, none behind a kick", rounds, len(victims), heard)
}

// heardAsMember checks what a peer heard of a group that it joined and left against what a member heard all the time: of what lies
// between a join and a leave all but what was not sent yet when it left.
func heardAsMember(t *testing.T, order []string, v *loadReceiver) (n int) {
	t.Helper()
	v.mu.Lock()
	left := maps.Clone(v.seen)
	v.mu.Unlock()
	in, ended := false, false
	for i, text := range order {
		if strings.HasPrefix(text, "{") {
			var e struct {
				Event string
				Peers []string
			}
			if err := json.Unmarshal([]byte(text), &e); err != nil {
				t.Fatal(err)
			}
			if slices.Contains(e.Peers, v.id) {
				in, ended = e.Event == "members_joined", false
			}
			continue
		}
		switch {
		case !left[text]:
			ended = true
		case !in:
			t.Errorf("%s heard %s, at %d, of which it was no member", v.id, text, i)
		case ended:
			t.Errorf("%s heard %s, at %d, but not what was before", v.id, text, i)
		default:
			n++
		}
		delete(left, text)
	}
	for text := range left {
		t.Errorf("%s heard %s, which the members did not", v.id, text)
	}
	return n
}
