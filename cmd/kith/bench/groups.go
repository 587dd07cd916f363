package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"kith/broker"
)

const requestTimeout = 15 * time.Second

// organizer is the peer that makes the groups, by requests over MQTT as any client would, and ends them.
type organizer struct {
	*conn
	asked  int
	groups map[broker.GroupID][]broker.PeerID
}

func (r *run) organize(ctx context.Context) (*organizer, error) {
	g := &organizer{conn: r.newConn(0, r.o.Target.peer("organizer", 0), crowdBuffer), groups: make(map[broker.GroupID][]broker.PeerID)}
	g.receive = receiveNone
	g.replies = make(chan []byte, 4)
	return g, g.open(ctx)
}

// requestFields are what the group verbs take (spec 6).
type requestFields struct {
	*proof
	ID    string          `json:"id"`
	Group broker.GroupID  `json:"group,omitempty"`
	Name  string          `json:"name,omitempty"`
	Peers []broker.PeerID `json:"peers,omitempty"`
}

type reply struct {
	ID      string         `json:"id"`
	OK      bool           `json:"ok"`
	Code    int            `json:"code"`
	Error   string         `json:"error"`
	Message string         `json:"message"`
	Group   broker.GroupID `json:"group"`
}

// ask sends a request and waits for its reply.
func (g *organizer) ask(ctx context.Context, verb string, f requestFields) (reply, error) {
	t := &g.run.o.Target
	g.asked++
	f.ID = strconv.Itoa(g.asked)
	body, err := json.Marshal(f)
	if err != nil {
		return reply{}, err
	}
	packet, _, _ := publishPacket(t.Version, fmt.Sprintf("%s/request/%s/%s", t.App, g.peer, verb), 0, body)
	if err := g.write(packet...); err != nil {
		return reply{}, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, requestTimeout, errors.New("the server does not answer a request to "+verb))
	defer cancel()
	for {
		select {
		case text := <-g.replies:
			var answer reply
			if err := json.Unmarshal(text, &answer); err != nil {
				return answer, fmt.Errorf("reply to %s: %w", verb, err)
			}
			switch {
			case answer.ID != f.ID:
			case !answer.OK:
				return answer, &RefusedError{whatRequest + " to " + verb, 0, fmt.Sprintf("%d %s: %s", answer.Code, answer.Error, answer.Message)}
			default:
				return answer, nil
			}
		case <-ctx.Done():
			return reply{}, context.Cause(ctx)
		}
	}
}

// create makes a group of peers, in invites as large as the server takes.
func (g *organizer) create(ctx context.Context, peers []broker.PeerID) (broker.GroupID, error) {
	t := &g.run.o.Target
	made, err := g.ask(ctx, "join", requestFields{proof: t.groupProof(g.peer, "", nil, broker.ActionJoin), Name: "kith bench"})
	if err != nil {
		return "", err
	}
	g.groups[made.Group] = peers
	return made.Group, g.change(ctx, "invite", broker.ActionInvite, made.Group, peers)
}

func (g *organizer) change(ctx context.Context, verb, action string, group broker.GroupID, peers []broker.PeerID) error {
	t := &g.run.o.Target
	for part := range slices.Chunk(peers, maxWatch) {
		if _, err := g.ask(ctx, verb, requestFields{proof: t.groupProof(g.peer, group, part, action), Group: group, Peers: part}); err != nil {
			return err
		}
	}
	return nil
}

// end empties the groups, deletes them where there is REST to do so, and leaves. It does so after a run that was cut short, too.
func (g *organizer) end(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	g.run.line.phase("cleaning up")
	var errs []error
	for group, peers := range g.groups {
		err := g.change(ctx, "kick", broker.ActionKick, group, peers)
		if err == nil {
			_, err = g.ask(ctx, "leave", requestFields{Group: group})
		}
		if err == nil && g.run.o.REST != "" {
			err = g.remove(ctx, group)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("group %s is left behind: %w", group, err))
		}
	}
	closeAll([]*conn{g.conn})
	return errors.Join(errs...)
}

// remove deletes a group over REST, with the app's key.
func (g *organizer) remove(ctx context.Context, group broker.GroupID) error {
	t := &g.run.o.Target
	at, err := url.JoinPath(g.run.o.REST, "v1/apps", string(t.App), "groups", string(group))
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, at, nil)
	if err != nil {
		return err
	}
	req.SetBasicAuth(string(t.App), t.Key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("DELETE %s: %s", at, resp.Status)
	}
	return nil
}

// eventReason is the reason in an error event.
func eventReason(payload []byte) string {
	var e reply
	if json.Unmarshal(payload, &e) != nil {
		return ""
	}
	return fmt.Sprintf("%d %s: %s", e.Code, e.Error, e.Message)
}
