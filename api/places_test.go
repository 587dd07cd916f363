package api_test

import (
	"io"
	"net/http/httptest"
	"testing"
	"time"
)

// An app that has all its places for exports and imports taken leaves others theirs.
func TestAnAppTakesNoOthersPlaceForTransfers(t *testing.T) {
	s := start(t)
	const mostOfApp = 4
	ended := make(chan struct{})
	var feeds []*io.PipeWriter
	for range mostOfApp {
		body, feed := io.Pipe()
		feeds = append(feeds, feed)
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/v1/apps/other/import", body)
		r.SetBasicAuth("other", "other-key")
		r.Header.Set("Content-Type", "application/x-ndjson")
		go func() {
			s.api.Handler().ServeHTTP(httptest.NewRecorder(), r)
			ended <- struct{}{}
		}()
		if _, err := feed.Write([]byte("\n")); err != nil { // it is read: the import has its place
			t.Fatal(err)
		}
	}
	s.call(other, "GET", "/v1/apps/other/export", nil).refused(429, 4116)
	s.call(demo, "GET", "/v1/apps/demo/export", nil).ok(200, nil)
	for _, feed := range feeds {
		_ = feed.Close()
	}
	for range feeds {
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Fatal("an import does not end")
		}
	}
	s.call(other, "GET", "/v1/apps/other/export", nil).ok(200, nil)
}
