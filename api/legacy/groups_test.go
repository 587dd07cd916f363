package legacy_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kith/broker"
)

// row is a row of AVOSRealtimeGroups.
type row struct {
	ObjectID  string          `json:"objectId"`
	CreatedAt string          `json:"createdAt"`
	UpdatedAt string          `json:"updatedAt"`
	M         []string        `json:"m"`
	TR        *bool           `json:"tr"`
	Name      string          `json:"name"`
	Color     json.RawMessage `json:"color"`
}

// rows are the ids of groups that a query finds.
func (s *server) rows(query url.Values) string {
	s.Helper()
	var got struct{ Results []row }
	s.call(asApp, "GET", "/classes/AVOSRealtimeGroups?"+query.Encode(), "").ok(&got)
	ids := ""
	for _, r := range got.Results {
		ids += r.ObjectID + " "
	}
	return ids
}

func TestAGroupIsARowOfTheTable(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	s.group(broker.NewGroup{
		ID: "4ad934r23bjhcas", Name: "The team", Attributes: json.RawMessage(`{"color":{"r":1},"m":"not this"}`), Members: []broker.PeerID{"2", "1"},
	})
	s.group(broker.NewGroup{ID: "live", Open: true})
	var got row
	s.call(asApp, "GET", "/classes/AVOSRealtimeGroups/4ad934r23bjhcas", "").ok(&got)
	if !regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`).MatchString(got.CreatedAt) {
		t.Errorf("createdAt %q", got.CreatedAt)
	}
	no, yes := false, true
	want := row{
		ObjectID: "4ad934r23bjhcas", CreatedAt: got.CreatedAt, UpdatedAt: got.CreatedAt, M: []string{"1", "2"}, TR: &no, Name: "The team",
		Color: json.RawMessage(`{"r":1}`),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	var all struct{ Results []row }
	s.call(asApp, "GET", "/classes/AVOSRealtimeGroups", "").ok(&all)
	open := all.Results[1]
	want = row{ObjectID: "live", CreatedAt: open.CreatedAt, UpdatedAt: open.CreatedAt, M: []string{}, TR: &yes}
	if diff := cmp.Diff(want, open); diff != "" {
		t.Error(diff)
	}
	s.call(asApp, "GET", "/classes/AVOSRealtimeGroups/ghost", "").refused(404, 4303)
	s.call(asApp, "GET", "/classes/AVOSRealtimeGroups/"+conversation, "").refused(400, 4114)
}

func TestGroupsAreFoundByMember(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	for i := range 5 {
		members := []broker.PeerID{"1"}
		if i%2 == 0 {
			members = append(members, "2")
		}
		s.group(broker.NewGroup{ID: broker.GroupID(fmt.Sprint("g", i)), Members: members})
	}
	for _, c := range []struct{ where, limit, skip, want string }{
		{"", "", "", "g0 g1 g2 g3 g4 "},
		{"", "2", "", "g0 g1 "},
		{"", "2", "3", "g3 g4 "},
		{"", "2", "5", ""},
		{`{"m":"2"}`, "", "", "g0 g2 g4 "},
		{`{"m":"2"}`, "2", "", "g0 g2 "},
		{`{"m":"2"}`, "2", "1", "g2 g4 "},
		{`{"m":"3"}`, "", "", ""},
	} {
		query := url.Values{}
		for name, value := range map[string]string{"where": c.where, "limit": c.limit, "skip": c.skip} {
			if value != "" {
				query.Set(name, value)
			}
		}
		if got := s.rows(query); got != c.want {
			t.Errorf("%v: %q, want %q", query, got, c.want)
		}
	}
	for _, query := range []string{
		"where=m", `where={"m":["1"]}`, `where={"m":"1","tr":true}`, `where={"name":"x"}`, `where={}`, "limit=0", "skip=-1", "order=name", "keys=m", "count=1",
	} {
		name, value, _ := strings.Cut(query, "=")
		s.call(asApp, "GET", "/classes/AVOSRealtimeGroups?"+name+"="+url.QueryEscape(value), "").refused(400, 4114)
	}
	s.call(asApp, "GET", "/classes/AVOSRealtimeGroups?skip=10001", "").refused(422, 4113)
	s.call(asApp, "GET", `/classes/AVOSRealtimeGroups?where=%7B%22m%22:%22a%2Fb%22%7D`, "").refused(400, 4103)
}

func TestOnlinesCountsAnOpenGroup(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	s.group(broker.NewGroup{ID: "live", Open: true})
	s.group(broker.NewGroup{ID: "team"})
	var got struct{ Result *int }
	s.call(asApp, "GET", "/rtm/transient_group/onlines?gid=live", "").ok(&got)
	if *got.Result != 0 {
		t.Errorf("nobody is in it, and result is %d", *got.Result)
	}
	alice := s.open("alice")
	alice.Publish(&broker.Publish{Topic: []byte(appID + "/request/alice/join"), Payload: []byte(`{"group":"live"}`), Tag: 1, QoS: 1})
	alice.Submit()
	s.call(asApp, "GET", "/rtm/transient_group/onlines?gid=live", "").ok(&got)
	if *got.Result != 1 {
		t.Errorf("alice is in it, and result is %d", *got.Result)
	}
	s.call(asApp, "GET", "/rtm/transient_group/onlines?gid=team", "").refused(422, 4401)
	s.call(asApp, "GET", "/rtm/transient_group/onlines?gid=ghost", "").refused(404, 4303)
	s.call(asApp, "GET", "/rtm/transient_group/onlines", "").refused(400, 4114)
}
