package redisstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"

	"kith/broker"
)

// pendingWrite is a write that was sent.
type pendingWrite struct {
	w   *broker.Write
	it  *item
	cmd *redis.Cmd
}

// addWrites adds the writes of a batch to the pipeline.
func (g *group) addWrites(ctx context.Context, it *item) {
	for i := range it.batch.Writes {
		w := &it.batch.Writes[i]
		cmd := g.s.writeCall(ctx, it.batch, w)
		g.cmds = append(g.cmds, cmd)
		g.wrote = append(g.wrote, pendingWrite{w, it, cmd})
	}
}

func (g *group) takeWrites() {
	for _, p := range g.wrote {
		p.w.Conflict, p.w.Current = false, nil
		answer, err := p.cmd.Result()
		switch v := answer.(type) {
		case string:
			p.w.Conflict, p.w.Current = true, []byte(v)
		case int64:
			p.w.Conflict = v == 1
		default:
			if err == nil {
				err = errAnswer
			}
			p.it.fail(fmt.Errorf("write record %c of %q: %w", p.w.Key.Space, p.w.Key.Owner, g.s.explain(err)))
		}
	}
}

func (s *Store) writeCall(ctx context.Context, b *broker.Batch, w *broker.Write) *redis.Cmd {
	k := w.Key
	shard := s.keys.shard(k.App, k.Owner)
	keys := append(make([]string, 0, 4), s.keys.record(shard, k))
	value, act := w.Value, "s"
	if w.Place != 0 {
		a := &b.Appends[w.Place-1]
		value = binary.BigEndian.AppendUint64(bytes.Clone(value), a.N)
		value = append(value, a.ID[:]...)
	}
	if value == nil || w.Expires != 0 && w.Expires <= s.opts.Now().UnixMilli() {
		value, act = nil, "r"
	}
	expiry := ""
	if listed(k.Space) {
		keys = append(keys, s.keys.list(shard, k.Space, k.App))
		if w.Expires > 0 {
			keys = append(keys, s.keys.expiries(shard))
			expiry = expiryPlace(k)
		}
	}
	args := []any{strconv.Itoa(int(w.If)), string(w.Have), act, string(value), s.lifetime(w.Expires), place(k), expiry}
	if w.Guard.Space != 0 {
		keys = append(keys, s.keys.record(shard, w.Guard))
		args = append(args, string(w.GuardHas))
	}
	return call(ctx, writeScript, keys, args...)
}
