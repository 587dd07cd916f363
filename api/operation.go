package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"

	"kith/broker"
)

// operation is a call of the API: what it needs and how it is documented.
type operation struct {
	id, method, path string
	tag              string
	summary          string
	description      string
	role             Role          // the least that may call it; "": anybody
	errors           []broker.Code // beyond those that any operation of its kind may answer
	problems         []*Problem    // refusals that have no code
	missing          bool          // may answer 404 for what the path names
	reads            bool          // changes nothing, whatever its method
	routine          bool          // what an app's own servers do all day: an audit log of it would be a second history
	body             int64         // bytes; 0: maxBody
	request, answer  any           // examples
	long             bool          // bounds its time itself
	records          bool          // its body is records, read as they come
	stream           string        // the media type of an answer that goes on as long as the caller wants; its example is answer
}

const maxBody = 16 << 10 // bytes (spec 13)

// register adds an operation to the router and to the OpenAPI document.
func register[I, O any](s *Server, o operation, do func(context.Context, *I) (*O, error)) {
	if o.body == 0 {
		o.body = maxBody
	}
	op := huma.Operation{
		OperationID:  o.id,
		Method:       o.method,
		Path:         o.path,
		Tags:         []string{o.tag},
		Summary:      o.summary,
		Description:  o.description,
		Security:     o.security(),
		Responses:    o.responses(s.problemSchema()),
		MaxBodyBytes: o.body + 1, // huma refuses the last byte too
		Middlewares:  huma.Middlewares{s.admit(&o), s.shed(o.method), strictQuery},
	}
	if o.stream == "" && !o.long {
		op.Middlewares = append(huma.Middlewares{operationDeadline}, op.Middlewares...)
	}
	if o.role == "" {
		op.Description += "\n\nOpen to anybody."
	} else {
		op.Description += fmt.Sprintf("\n\nOperators need the role %s.", o.role)
	}
	if o.records {
		op.RequestBody = &huma.RequestBody{
			Description: "Records, one a line, or an array of them.",
			Content:     map[string]*huma.MediaType{ndjson: {Schema: &huma.Schema{Type: huma.TypeString}, Example: exportExample}},
		}
	}
	if o.request != nil {
		op.RequestBody = &huma.RequestBody{
			Content: map[string]*huma.MediaType{"application/json": {Example: o.request}},
		}
	}
	huma.Register(s.huma, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := do(ctx, in)
		if err != nil {
			err = problemOf(ctx, s.log, err)
		}
		if o.role != "" {
			s.audit(ctx, &o, callerOf(ctx), err)
		}
		return out, err
	})
}

// admit lets pass who may call an operation, and tells it who that is. It comes before anything of the request is parsed.
func (s *Server) admit(o *operation) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		if o.role == "" {
			next(ctx)
			return
		}
		r, w := humachi.Unwrap(ctx)
		c, err := s.guard.authenticate(r)
		if err == nil {
			err = s.guard.within(c)
		}
		if err == nil {
			c.path, c.requestID = r.URL.Path, w.Header().Get(requestIDHeader)
			if err = s.guard.allows(c, o, ctx.Param("app")); err != nil {
				err = problemOf(r.Context(), s.log, err)
				s.audit(r.Context(), o, c, err)
			}
		}
		if err != nil {
			problemOf(r.Context(), s.log, err).write(w)
			return
		}
		next(huma.WithValue(ctx, callerKey{}, c))
	}
}

// shed refuses calls that would add something while the node has no room for it. Who looks, or takes something away, may.
func (s *Server) shed(method string) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		if method != http.MethodGet && method != http.MethodDelete {
			if err := s.spare(); err != nil {
				r, w := humachi.Unwrap(ctx)
				problemOf(r.Context(), s.log, err).write(w)
				return
			}
		}
		next(ctx)
	}
}

// allows checks that the caller may call the operation, in the app that the path names.
func (g *guard) allows(c *caller, o *operation, app string) error {
	if !o.inApp() {
		return c.mustBe(o.role)
	}
	c.about = broker.AppID(app)
	return g.authorize(c, app, o.role)
}

// strictQuery refuses a query that two readers could read differently. What parameters there are huma checks.
func strictQuery(ctx huma.Context, next func(huma.Context)) {
	r, w := humachi.Unwrap(ctx)
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		malformed("the query does not parse").write(w)
		return
	}
	for name, values := range query {
		if len(values) != 1 || values[0] == "" {
			p := malformed("a query parameter is empty or repeated")
			p.Errors = []FieldProblem{{Location: "query." + name, Message: "say it once, with a value"}}
			p.write(w)
			return
		}
	}
	next(ctx)
}

func (o *operation) inApp() bool { return strings.Contains(o.path, "{app}") }

// security names the ways to authenticate for the OpenAPI document.
func (o *operation) security() []map[string][]string {
	switch {
	case o.role == "":
		return []map[string][]string{{}}
	case o.inApp():
		return []map[string][]string{{"basic": {}}, {"bearer": {}}}
	}
	return []map[string][]string{{"bearer": {}}}
}

// codes are all that the operation may answer.
func (o *operation) codes() []broker.Code {
	codes := slices.Clone(o.errors)
	if o.role == "" {
		return codes
	}
	codes = append(codes, broker.Malformed, broker.Unauthorized, broker.Forbidden, broker.RateLimited, broker.Internal)
	if o.inApp() {
		codes = append(codes, broker.AppNotFound)
	}
	if o.request != nil {
		codes = append(codes, broker.MessageTooLong)
	}
	slices.Sort(codes)
	return slices.Compact(codes)
}

// responses documents the refusals, by status, and the example of the answer.
func (o *operation) responses(schema *huma.Schema) map[string]*huma.Response {
	all := map[string]*huma.Response{}
	add := func(status int, about string, example *Problem) {
		key := strconv.Itoa(status)
		r, ok := all[key]
		if !ok {
			r = &huma.Response{Content: map[string]*huma.MediaType{
				problemType: {Schema: schema, Examples: map[string]*huma.Example{}},
			}}
			all[key] = r
		}
		r.Description = strings.TrimPrefix(r.Description+", "+about, ", ")
		r.Content[problemType].Examples[example.Name] = &huma.Example{Value: example}
		for name := range example.headers {
			if r.Headers == nil {
				r.Headers = map[string]*huma.Header{}
			}
			r.Headers[name] = &huma.Header{Schema: &huma.Schema{Type: huma.TypeString}}
		}
	}
	for _, code := range o.codes() {
		p := problem(code, "what is wrong this time")
		if code == broker.Unauthorized {
			p = unauthorized(sayWho)
		}
		add(p.Status, fmt.Sprintf("%d %s", code, code.Name()), p)
	}
	for _, p := range o.problems {
		add(p.Status, p.Detail, p)
	}
	if o.missing {
		add(http.StatusNotFound, "what the path names does not exist", notFound("there is no such thing"))
	}
	if o.request != nil {
		add(http.StatusUnsupportedMediaType, "not JSON", statusProblem(http.StatusUnsupportedMediaType, "say application/json"))
	}
	add(http.StatusInternalServerError, "a fault of the server", statusProblem(http.StatusInternalServerError, "a fault of the server"))
	if o.stream != "" {
		all["200"] = &huma.Response{
			Description: "Goes on until one side ends it.",
			Content:     map[string]*huma.MediaType{o.stream: {Schema: &huma.Schema{Type: huma.TypeString}, Example: o.answer}},
		}
	} else if o.answer != nil {
		all["200"] = &huma.Response{
			Description: "Done.",
			Content:     map[string]*huma.MediaType{"application/json": {Example: o.answer}},
		}
	}
	return all
}
