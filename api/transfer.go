package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2/adapters/humachi"

	"github.com/danielgtaylor/huma/v2"

	"kith/broker"
)

const (
	// maxTransfers is how many exports and imports a node does at once, and maxAppTransfers how many of them for one app. A backup has a
	// place of its own, in the store.
	maxTransfers    = 8
	maxAppTransfers = 4
	// transferIdle bounds how long one may get nowhere: the caller does not read or write, or the store does not answer.
	transferIdle = time.Minute
)

// beginTransfer takes a place for an export or import of an app; leave gives it back.
func (s *Server) beginTransfer(app broker.AppID) (leave func(), err error) {
	leave, ok := s.transfers.take(app)
	if !ok {
		return nil, problem(broker.RateLimited, fmt.Sprintf("%d exports and imports of the app, or %d of all apps, are under way on this node; try again when one is done", maxAppTransfers, maxTransfers))
	}
	return leave, nil
}

// transfer is one under way. Its context ends with the caller's, with the server, and when it gets nowhere for too long.
type transfer struct {
	ctx  context.Context //nolint:containedctx // it is what the transfer is about
	w    http.ResponseWriter
	idle *time.Timer
	sent bool // something of the answer
	body io.Reader
}

// transfer prepares the request at hand for one; end releases it.
func (s *Server) transfer(hctx huma.Context) (t *transfer, end func()) {
	r, w := humachi.Unwrap(hctx)
	ctx, cancel := s.streams.while(hctx.Context())
	t = &transfer{ctx: ctx, w: w, body: r.Body, idle: time.AfterFunc(transferIdle, cancel)}
	t.moved()
	return t, func() {
		t.idle.Stop()
		cancel()
	}
}

// download answers with what write makes, as it makes it.
func (s *Server) download(contentType string, write func(*transfer) error) *huma.StreamResponse {
	return &huma.StreamResponse{Body: func(hctx huma.Context) {
		t, end := s.transfer(hctx)
		defer end()
		t.w.Header().Set("Content-Type", contentType)
		t.finish(s, write(t))
	}}
}

// moved says that it got somewhere.
func (t *transfer) moved() {
	t.idle.Reset(transferIdle)
	rc := http.NewResponseController(t.w) // a test's recorder cannot
	_ = rc.SetReadDeadline(time.Now().Add(transferIdle))
	_ = rc.SetWriteDeadline(time.Now().Add(2 * transferIdle))
}

// Write sends a part of the answer.
func (t *transfer) Write(b []byte) (int, error) {
	t.sent = true
	n, err := t.w.Write(b)
	t.moved()
	return n, err
}

// Read reads a part of the request's body.
func (t *transfer) Read(b []byte) (int, error) {
	n, err := t.body.Read(b)
	t.moved()
	return n, err
}

// finish tells the caller that an answer that was streamed did not succeed: by a problem, or, where it has begun, by cutting it short.
func (t *transfer) finish(s *Server, err error) {
	if err == nil {
		return
	}
	p := problemOf(t.ctx, s.log, err)
	if !t.sent {
		p.write(t.w)
		return
	}
	panic(http.ErrAbortHandler)
}
