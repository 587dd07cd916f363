package redisstore

import (
	"fmt"

	"kith/broker"
)

// checkBatch finds what is wrong with a batch before anything of it is tried.
func checkBatch(b *broker.Batch) error {
	for i := range b.Appends {
		if err := checkAppend(&b.Appends[i]); err != nil {
			return err
		}
	}
	for i := range b.Writes {
		w := &b.Writes[i]
		if err := checkNames(w.Key.App, w.Key.Owner); err != nil {
			return err
		}
		if w.Place < 0 || w.Place > len(b.Appends) {
			return fmt.Errorf("write record %c of %q: there is no append %d", w.Key.Space, w.Key.Owner, w.Place)
		}
	}
	for i := range b.Deletes {
		d := &b.Deletes[i]
		if !d.Message.IsZero() {
			if err := checkNames(d.App, ""); err != nil {
				return err
			}
			continue
		}
		if err := checkNames(d.Log.App, d.Log.Owner); err != nil {
			return err
		}
		if !isLog(d.Log.Kind) {
			return fmt.Errorf("empty log of %q: no log of kind %q", d.Log.Owner, d.Log.Kind)
		}
		if !d.Before.IsZero() && d.Log.Kind == broker.LogEvents {
			return fmt.Errorf("trim log of %q: no log of kind %q can be trimmed", d.Log.Owner, d.Log.Kind)
		}
	}
	return nil
}

func isLog(k broker.LogKind) bool {
	switch k {
	case broker.LogApp, broker.LogConversation, broker.LogSent, broker.LogInbox, broker.LogEvents:
		return true
	}
	return k.IsPast()
}

// maxInboxes is far more than a message has receivers (spec 6).
const maxInboxes = 200

func checkAppend(a *broker.Append) error {
	if a.Once.Space != 0 && listed(a.Once.Space) {
		return fmt.Errorf("append: records of space %c cannot make it idempotent", a.Once.Space)
	}
	if a.Message != nil && len(a.Inboxes) > maxInboxes {
		return fmt.Errorf("append to %d inboxes: %d are the most", len(a.Inboxes), maxInboxes)
	}
	return a.Check(checkNames)
}
