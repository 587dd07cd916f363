package broker

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// The audit log says who changed what over REST. Each app has its own, a list of records that expire; their names are ids turned
// over, so that a list begins with the newest.

// AuditEntry is one change, or an attempt at one.
type AuditEntry struct {
	ID        MessageID `json:"-"`
	TS        int64     `json:"-"` // Unix milliseconds, of ID
	App       AppID     `json:"-"` // where it was to happen; empty: none that exists
	Who       string    `json:"who"`
	Operator  bool      `json:"operator,omitempty"` // who is an operator, else an app's own server
	Action    string    `json:"action"`
	Method    string    `json:"method"`
	Path      string    `json:"path"`
	Target    string    `json:"target,omitempty"` // what it made, where the path does not say
	Address   string    `json:"address,omitempty"`
	RequestID string    `json:"request_id,omitempty"`
	Status    int       `json:"status"`         // of HTTP
	Code      int       `json:"code,omitempty"` // of a refusal
}

// AuditQuery selects entries, the newest first.
type AuditQuery struct {
	Apps         []AppID // of these
	Who          string
	Action       string
	Since, Until int64 // Unix milliseconds, inclusive and exclusive; 0: open
	After        MessageID
	Limit        int
}

// auditOwner keeps an app's entries together.
const auditOwner = "log"

func auditKey(app AppID, id MessageID) Key {
	for i := range id {
		id[i] = ^id[i]
	}
	return Key{Space: SpaceAudit, App: app, Owner: auditOwner, Name: id.String()}
}

// Audit keeps an entry for as long as keep. It gives the entry its id and returns when it is durable.
func (b *Broker) Audit(ctx context.Context, e AuditEntry, keep time.Duration) error {
	value, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("write audit entry: %w", err)
	}
	id := b.ids.Next()
	_, err = b.commit(ctx, &Batch{Writes: []Write{{
		Key: auditKey(e.App, id), Value: value, Expires: time.UnixMilli(id.Time()).Add(keep).UnixMilli(),
	}}})
	return err
}

// AuditLog returns at most q.Limit entries. Where next is not zero there may be more after it.
func (b *Broker) AuditLog(ctx context.Context, q AuditQuery) (found []AuditEntry, next MessageID, err error) {
	at := q.After
	if until := FirstIDAt(q.Until); q.Until > 0 && (at.IsZero() || until.Compare(at) < 0) {
		at = until
	}
	for scanned := 0; scanned < maxHistoryScan; {
		page, err := b.auditPage(ctx, q.Apps, at, q.Limit+1)
		if err != nil {
			return nil, MessageID{}, err
		}
		for _, e := range page {
			switch {
			case e.TS < q.Since:
				return found, MessageID{}, nil
			case q.Who != "" && e.Who != q.Who || q.Action != "" && e.Action != q.Action:
			case len(found) == q.Limit:
				return found, found[len(found)-1].ID, nil
			default:
				found = append(found, e)
			}
			at = e.ID
		}
		if len(page) <= q.Limit {
			return found, MessageID{}, nil
		}
		scanned += len(page)
	}
	return found, at, nil
}

// auditPage returns the newest entries of several apps before an id; zero: the newest of all.
func (b *Broker) auditPage(ctx context.Context, apps []AppID, before MessageID, limit int) (page []AuditEntry, err error) {
	for _, app := range apps {
		q := ListQuery{Space: SpaceAudit, App: app, Owner: auditOwner, Limit: limit}
		if !before.IsZero() {
			q.After = auditKey(app, before)
		}
		records, err := b.store.List(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, r := range records {
			e, err := parseAuditEntry(r)
			if err != nil {
				return nil, err
			}
			page = append(page, e)
		}
	}
	slices.SortFunc(page, func(x, y AuditEntry) int { return cmp.Or(y.ID.Compare(x.ID), cmpString(x.App, y.App)) })
	return page[:min(len(page), limit)], nil
}

func parseAuditEntry(r Record) (AuditEntry, error) {
	e := AuditEntry{App: r.Key.App}
	id, err := ParseMessageID(r.Key.Name)
	if err == nil {
		err = json.Unmarshal(r.Value, &e)
	}
	if err != nil {
		return e, fmt.Errorf("read audit entry %s of %q: %w", r.Key.Name, r.Key.App, err)
	}
	for i := range id {
		id[i] = ^id[i]
	}
	e.ID, e.TS = id, id.Time()
	return e, nil
}
