package broker

import (
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// sharedPages lets the live readers that stand at one place of an app's log share one read of what is behind it, so that many cost
// the store little more than one.
type sharedPages struct {
	reads singleflight.Group

	mu    sync.Mutex
	after MessageID // where the page that was read last begins
	page  HistoryPage
	taken time.Time
}

// read returns the page behind a place: one of a moment ago, or that of another reader's read under way, or what load reads.
func (s *sharedPages) read(after MessageID, load func() (HistoryPage, error)) (HistoryPage, error) {
	if page, ok := s.recent(after); ok {
		return page, nil
	}
	page, err, _ := s.reads.Do(string(after[:]), func() (any, error) {
		page, err := load()
		if err == nil && len(page.Items) > 0 {
			s.keep(after, page)
		}
		return page, err
	})
	return page.(HistoryPage), err //nolint:forcetypeassert // as above
}

// recent returns the last page if it is of this place. It stays right for as long as it is kept: what came since is behind it.
func (s *sharedPages) recent(after MessageID) (HistoryPage, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.page, s.after == after && len(s.page.Items) > 0 && time.Since(s.taken) < liveEvery
}

func (s *sharedPages) keep(after MessageID, page HistoryPage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.after, s.page, s.taken = after, page, time.Now()
}

func (s *sharedPages) drop() { s.keep(MessageID{}, HistoryPage{}) }
