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
	if err := l.list(ctx, a, "/messages?order=asc", each); err != nil {
		return fmt.Errorf("read history: %w", err)
	}
	return nil
}

// queue is what waits for a device.
func (l *Load) queue(ctx context.Context, d *Device) (waiting []item, err error) {
	path := "/peers/" + url.PathEscape(string(d.peer)) + "/queue?device=" + url.QueryEscape(string(d.name))
	if err := l.list(ctx, d.app, path, func(i item) { waiting = append(waiting, i) }); err != nil {
		return nil, fmt.Errorf("read the queue of %s: %w", d, err)
	}
	return waiting, nil
}

// list calls each for all items of a paged list, whose path has a query already.
func (l *Load) list(ctx context.Context, a *App, path string, each func(item)) error {
	path += "&limit=1000"
	for at := path; ; {
		var page struct {
			Items []item `json:"items"`
			Next  string `json:"next"`
		}
		if err := l.call(ctx, a, http.MethodGet, at, nil, &page); err != nil {
			return err
		}
		for _, i := range page.Items {
			each(i)
		}
		if page.Next == "" {
			return nil
		}
		at = path + "&cursor=" + url.QueryEscape(page.Next)
	}
}
