package load

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// restTimeout bounds a call; maxAnswer what it may answer, in bytes.
const (
	restTimeout = 30 * time.Second
	maxAnswer   = 64 << 20
)

// item is what history and queues tell of a message.
type item struct {
	ID      string `json:"id"`
	Message string `json:"message"`
}

// call makes a REST call with the app's key.
func (l *Load) call(ctx context.Context, a *App, method, path string, body, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, restTimeout)
	defer cancel()
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, l.o.REST()+"/v1/apps/"+string(a.ID)+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.SetBasicAuth(string(a.ID), a.key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	said, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, said)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(said, answer)
}

func (l *Load) makeGroups(ctx context.Context, a *App) error {
	for id, members := range a.groups {
		body := map[string]any{"id": id, "name": id, "members": members}
		if err := l.call(ctx, a, http.MethodPost, "/groups", body, nil); err != nil {
			return fmt.Errorf("make %s: %w", id, err)
		}
	}
	return nil
}

// history calls each for all messages of the app, oldest first.
func (l *Load) history(ctx context.Context, a *App, each func(item)) error {
	for path := "/messages?order=asc&limit=1000"; ; {
		var page struct {
			Items []item `json:"items"`
			Next  string `json:"next"`
		}
		if err := l.call(ctx, a, http.MethodGet, path, nil, &page); err != nil {
			return fmt.Errorf("read history: %w", err)
		}
		for _, i := range page.Items {
			each(i)
		}
		if page.Next == "" {
			return nil
		}
		path = "/messages?order=asc&limit=1000&cursor=" + url.QueryEscape(page.Next)
	}
}

// queue is what waits for a device.
func (l *Load) queue(ctx context.Context, d *Device) ([]item, error) {
	var q struct {
		Items []item `json:"items"`
	}
	path := "/peers/" + url.PathEscape(string(d.peer)) + "/queue?device=" + url.QueryEscape(string(d.name))
	if err := l.call(ctx, d.app, http.MethodGet, path, nil, &q); err != nil {
		return nil, fmt.Errorf("read the queue of %s: %w", d, err)
	}
	return q.Items, nil
}
