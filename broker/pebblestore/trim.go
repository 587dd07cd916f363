package pebblestore

import (
	"bytes"

	"kith/broker"
)

// trim drops the oldest events of a log before one is appended, when clearly more than keep are there: some are let
// stand, so that the look at the log's beginning is worth its while. keep 0 drops nothing.
func (g *group) trim(log broker.LogID, h *head, keep uint64) error {
	if keep == 0 || h.n < h.oldest+keep+keep/8+8 {
		return nil
	}
	it, err := g.iter()
	if err != nil {
		return err
	}
	g.key = appendLogPrefix(g.key[:0], log)
	prefix := g.key
	from := prefix
	if h.low != nil {
		from = h.low
	}
	firstKept := h.n + 2 - keep // with the one to come, keep of them
	h.oldest = firstKept
	for ok := it.SeekGE(from); ok && bytes.HasPrefix(it.Key(), prefix); ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		n, _, err := splitEvent(value)
		if err != nil {
			return err
		}
		if n >= firstKept {
			h.oldest = n
			break
		}
		if err := g.wb.Delete(it.Key(), nil); err != nil {
			return err
		}
		h.low = append(h.low[:0], it.Key()...)
	}
	return it.Error()
}
