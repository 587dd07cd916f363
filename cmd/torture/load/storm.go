package load

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"kith/broker"
)

// stormTimeout bounds a storm; whoever is not in by then stays out.
const stormTimeout = 15 * time.Second

// Storm lets n strangers connect at once, all drop without a word, and reconnect at once, together with the whole load. It returns
// how many strangers got in the second time. They get nothing and send nothing.
func (l *Load) Storm(ctx context.Context, n int) int {
	ctx, cancel := context.WithTimeout(ctx, stormTimeout)
	defer cancel()
	l.wave(ctx, n)
	for _, d := range l.Devices() {
		d.Drop()
	}
	return l.wave(ctx, n)
}

func (l *Load) wave(ctx context.Context, n int) int {
	var in atomic.Int64
	var clients sync.WaitGroup
	a := l.apps[0]
	addrs := l.o.Clients()
	for i := range n {
		clients.Go(func() {
			peer := broker.PeerID(fmt.Sprintf("stranger%d", i))
			text, err := json.Marshal(a.sign(peer, nil))
			if err != nil {
				return
			}
			c, err := dial(ctx, addrs[i%len(addrs)], string(peer), string(a.ID), string(text))
			if err != nil {
				l.note(err)
				return
			}
			in.Add(1)
			_ = c.Close()
		})
	}
	clients.Wait()
	return int(in.Load())
}
