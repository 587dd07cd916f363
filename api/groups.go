package api

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"kith/broker"
)

// Group is a group (spec 13).
type Group struct {
	Group      broker.GroupID `json:"group" doc:"The group's id." example:"team"`
	Name       string         `json:"name" doc:"Its name." example:"The team"`
	Open       bool           `json:"open" doc:"Whether it is an open group: without a limit and a list of members." example:"false"`
	Creator    broker.PeerID  `json:"creator" doc:"Who made it; empty: the app's own server or an operator." example:"alice"`
	Members    int            `json:"members" doc:"How many are in it; of an open group, how many are connected." example:"3"`
	Created    int64          `json:"created" doc:"When it was made, Unix milliseconds." example:"1416290728000"`
	Attributes Attributes     `json:"attributes" doc:"What the app keeps with it."`
}

func groupOf(g broker.Group) Group {
	return Group{g.ID, g.Name, g.Open, g.Creator, g.Members, g.Created, Attributes{g.Attributes}}
}

// Attributes is a JSON object of the app's own, kept as it was said.
type Attributes struct{ json.RawMessage }

// Schema documents the attributes; huma asks for it.
func (Attributes) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true, Description: "A JSON object of at most 4 KB."}
}

// GroupBody describes a group to be made (spec 11).
type GroupBody struct {
	ID         string     `json:"id,omitempty" doc:"An id of one's own; else the server makes one." example:"team"`
	Name       string     `json:"name,omitempty" doc:"Its name, at most 256 bytes." example:"The team"`
	Open       bool       `json:"open,omitempty" doc:"Make it an open group." example:"false"`
	Attributes Attributes `json:"attributes,omitzero" required:"false" doc:"What the app keeps with it."`
	Members    []string   `json:"members,omitempty" nullable:"false" doc:"Its first members; none for an open group." example:"[\"alice\",\"bob\"]"`
}

// GroupInput is a request to make a group.
type GroupInput struct {
	AppPath
	Body GroupBody
}

func (b *GroupBody) group() (n broker.NewGroup, err error) {
	n = broker.NewGroup{Name: b.Name, Open: b.Open, Attributes: b.Attributes.RawMessage}
	if b.ID != "" {
		if n.ID, err = parseGroup("body.id", b.ID); err != nil {
			return n, err
		}
	}
	n.Members, err = parsePeers("body.members", b.Members)
	return n, err
}

// GroupPath is a path to a group.
type GroupPath struct {
	AppPath
	Group string `path:"group" doc:"The group's id." example:"team"`
}

func (p *GroupPath) group() (broker.GroupID, error) { return parseGroup("path.group", p.Group) }

// GroupsInput pages through groups.
type GroupsInput struct {
	AppPath
	PageQuery
}

// PatchBody says what changes in a group. What is not named stays.
type PatchBody struct {
	Name       *string                    `json:"name,omitempty" nullable:"false" doc:"Its new name, at most 256 bytes." example:"The old team"`
	Attributes map[string]json.RawMessage `json:"attributes,omitempty" nullable:"false" doc:"Attributes to set; null removes one."`
}

// PatchInput is a request to change a group.
type PatchInput struct {
	GroupPath
	IfMatch string `header:"If-Match" doc:"Change it only if its ETag is this one, or one of these." example:"\"i2mb4g8w-1\""`
	Body    PatchBody
}

// TaggedGroup is a group with the tag of its name and attributes.
type TaggedGroup struct {
	ETag string `header:"ETag" doc:"Changes with name and attributes; say it as If-Match." example:"\"i2mb4g8w-1\""`
	Body Group
}

func tagged(g broker.Group, tag string) *TaggedGroup {
	return &TaggedGroup{ETag: `"` + tag + `"`, Body: groupOf(g)}
}

// parseIfMatch returns the tags of an If-Match header (RFC 9110, 13.1.1), of which none is empty; none: any will do. A weak tag
// matches nothing, but is not wrong.
func parseIfMatch(header string) (tags []string, err error) {
	header = strings.TrimSpace(header)
	if header == "" || header == "*" {
		return nil, nil
	}
	for part := range strings.SplitSeq(header, ",") { // no tag of ours has a comma
		part = strings.TrimSpace(part)
		strong, weak := strings.CutPrefix(part, "W/")
		if len(strong) < 2 || strong[0] != '"' || strong[len(strong)-1] != '"' || strings.Contains(strong[1:len(strong)-1], `"`) {
			return nil, malformed(`If-Match is an ETag in its quotes, several with commas between, or *`)
		}
		if weak {
			strong = part // in full: no tag is like that
		}
		tags = append(tags, strings.Trim(strong, `"`))
	}
	return tags, nil
}

var (
	errGroupExists  = statusProblem(http.StatusConflict, "there is a group of this id")
	errGroupChanged = statusProblem(http.StatusPreconditionFailed, "the group is not as If-Match says; read it again")
)

// patch changes a group if its tag is one of tags, or if there are none.
func (s *Server) patch(ctx context.Context, app broker.AppID, id broker.GroupID, p broker.GroupPatch, tags []string) (*TaggedGroup, error) {
	if len(tags) > 0 {
		_, tag, err := s.broker.Group(ctx, app, id)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(tags, tag) {
			return nil, errGroupChanged
		}
		p.Match = tag
	}
	g, tag, matched, err := s.broker.PatchGroup(ctx, app, id, p)
	if err != nil {
		return nil, err
	}
	if !matched {
		return nil, errGroupChanged
	}
	return tagged(g, tag), nil
}

func (s *Server) registerGroups() {
	name := "The old team"
	register(s, operation{
		id: "list-groups", method: http.MethodGet, path: "/v1/apps/{app}/groups", tag: "groups", role: RoleViewer,
		summary: "List groups", description: "The app's groups, in the order of their ids.",
		answer: Page[Group]{Items: []Group{exampleGroup()}, Next: groupList.cursor("team")},
	}, func(ctx context.Context, in *GroupsInput) (*Answer[Page[Group]], error) {
		after, err := groupList.lastGroup(in.Cursor)
		if err != nil {
			return nil, err
		}
		found, err := s.broker.Groups(ctx, in.app(), after, in.Limit+1)
		if err != nil {
			return nil, err
		}
		groups := make([]Group, 0, len(found))
		for _, g := range found {
			groups = append(groups, groupOf(g))
		}
		return answer(pageOf(groups, in.Limit, groupList, func(g *Group) string { return string(g.Group) })), nil
	})
	register(s, operation{
		id: "create-group", method: http.MethodPost, path: "/v1/apps/{app}/groups", tag: "groups", role: RoleOperator,
		summary: "Make a group", description: "Makes a group with its first members, who are told as when a peer invites them.",
		errors:   []broker.Code{broker.LimitExceeded, broker.GroupFull, broker.InvalidTarget},
		problems: []*Problem{errGroupExists}, body: maxGroupBody,
		request: GroupBody{ID: "team", Name: "The team", Attributes: exampleGroup().Attributes, Members: []string{"alice", "bob"}},
		answer:  exampleGroup(),
	}, func(ctx context.Context, in *GroupInput) (*Answer[Group], error) {
		n, err := in.Body.group()
		if err != nil {
			return nil, err
		}
		g, exists, err := s.broker.CreateGroup(ctx, in.app(), n)
		if err != nil {
			return nil, err
		}
		if exists {
			return nil, errGroupExists
		}
		callerOf(ctx).target = string(g.ID)
		return answer(groupOf(g)), nil
	})
	register(s, operation{
		id: "get-group", method: http.MethodGet, path: "/v1/apps/{app}/groups/{group}", tag: "groups", role: RoleViewer,
		summary: "Read a group", description: "A group, with its tag for a change.",
		errors: []broker.Code{broker.GroupNotFound}, answer: exampleGroup(),
	}, func(ctx context.Context, in *GroupPath) (*TaggedGroup, error) {
		id, err := in.group()
		if err != nil {
			return nil, err
		}
		g, tag, err := s.broker.Group(ctx, in.app(), id)
		if err != nil {
			return nil, err
		}
		return tagged(g, tag), nil
	})
	register(s, operation{
		id: "patch-group", method: http.MethodPatch, path: "/v1/apps/{app}/groups/{group}", tag: "groups", role: RoleOperator,
		summary:     "Change a group",
		description: "Sets the name, and attributes one by one. With If-Match only if nobody else changed either meanwhile.",
		errors:      []broker.Code{broker.GroupNotFound, broker.LimitExceeded},
		problems:    []*Problem{errGroupChanged},
		request:     PatchBody{Name: &name, Attributes: map[string]json.RawMessage{"color": json.RawMessage(`"blue"`), "level": json.RawMessage("null")}},
		answer:      exampleGroup(),
	}, func(ctx context.Context, in *PatchInput) (*TaggedGroup, error) {
		id, err := in.group()
		if err != nil {
			return nil, err
		}
		tags, err := parseIfMatch(in.IfMatch)
		if err != nil {
			return nil, err
		}
		return s.patch(ctx, in.app(), id, broker.GroupPatch{Name: in.Body.Name, Attributes: in.Body.Attributes}, tags)
	})
	register(s, operation{
		id: "delete-group", method: http.MethodDelete, path: "/v1/apps/{app}/groups/{group}", tag: "groups", role: RoleAdmin,
		summary: "Delete a group", description: "All its members leave. Its messages stay in history.",
		errors: []broker.Code{broker.GroupNotFound},
	}, func(ctx context.Context, in *GroupPath) (*struct{}, error) {
		id, err := in.group()
		if err != nil {
			return nil, err
		}
		return nil, s.broker.DeleteGroup(ctx, in.app(), id)
	})
}

// maxGroupBody lets a full group of the longest ids pass, under the default group_members (2000 of 50 characters of 4 bytes, quoted).
const maxGroupBody = 512 << 10

func exampleGroup() Group {
	return Group{
		Group: "team", Name: "The team", Members: 2, Created: 1416290728000,
		Attributes: Attributes{json.RawMessage(`{"color":"red"}`)},
	}
}
