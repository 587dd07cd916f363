package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"kith/broker"
)

const (
	// maxStreams is how many live streams a node serves at once, and maxAppStreams how many of them those of one app.
	maxStreams    = 2000
	maxAppStreams = 1000
	// heartbeat is how often a stream says something, so that who reads it, and what lies between, knows that it lives.
	heartbeat = 15 * time.Second
	// streamWriteTimeout is how long a reader may leave unread what was sent. It comes back with Last-Event-ID.
	streamWriteTimeout = 20 * time.Second
)

// streams are the answers that go on. They end when their reader leaves, or with the server.
type streams struct {
	stopping chan struct{} // closed when the server ends
	stop     sync.Once
	places   *places
}

func newStreams() *streams {
	return &streams{stopping: make(chan struct{}), places: newPlaces(maxStreams, maxAppStreams)}
}

// end ends all streams, those to come too.
func (s *streams) end() { s.stop.Do(func() { close(s.stopping) }) }

// begin takes a place for a stream of an app; leave gives it back.
func (s *streams) begin(app broker.AppID) (leave func(), err error) {
	leave, ok := s.places.take(app)
	if !ok {
		return nil, problem(broker.RateLimited, fmt.Sprintf("%d live streams of the app, or %d of all apps, are open on this node; that is all it serves", maxAppStreams, maxStreams))
	}
	return leave, nil
}

// while returns a context that ends with ctx or with the server.
func (s *streams) while(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-s.stopping:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// eventStream writes server-sent events, as in section 9.2 of the HTML standard. Nothing is on its way before flush.
type eventStream struct {
	w      http.ResponseWriter
	buf    bytes.Buffer
	newest broker.MessageID // the id given last
}

// event adds an event. An empty id leaves the reader's last event id as it is.
func (s *eventStream) event(name, id string, data any) error {
	if id != "" {
		s.buf.WriteString("id: " + id + "\n")
	}
	s.buf.WriteString("event: " + name + "\ndata: ")
	enc := json.NewEncoder(&s.buf) // ends with a line feed, and writes no other
	enc.SetEscapeHTML(false)
	if err := enc.Encode(data); err != nil {
		return fmt.Errorf("write event %s: %w", name, err)
	}
	s.buf.WriteByte('\n')
	return nil
}

// comment adds a line that readers pass over.
func (s *eventStream) comment(text string) { s.buf.WriteString(": " + text + "\n\n") }

// flush sends what was added.
func (s *eventStream) flush() error {
	rc := http.NewResponseController(s.w)
	_ = rc.SetWriteDeadline(time.Now().Add(streamWriteTimeout)) // a test's recorder cannot
	defer s.buf.Reset()
	if _, err := s.w.Write(s.buf.Bytes()); err != nil {
		return err
	}
	return rc.Flush()
}
