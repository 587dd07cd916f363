package redisstore_test

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"kith/broker"
	"kith/broker/redisstore"
	"kith/broker/redisstore/redistest"
)

// publisher keeps one batch in flight, as a connection with a window of its size does.
type publisher struct {
	store broker.Store
	batch broker.Batch
	left  int
	ended chan error
}

func newPublisher(store broker.Store, i, size, batches int) *publisher {
	p := &publisher{store: store, left: batches, ended: make(chan error, 1)}
	from, to := broker.PeerID(fmt.Sprintf("sender%d", i)), broker.PeerID(fmt.Sprintf("receiver%d", i))
	for range size {
		p.batch.Appends = append(p.batch.Appends, direct(from, strings.Repeat("0123456789abcdef", 16), to))
	}
	p.batch.Done = p.done
	return p
}

func (p *publisher) done(_ *broker.Batch, err error) {
	p.left--
	if err != nil || p.left <= 0 {
		p.ended <- err
		return
	}
	p.store.Commit(&p.batch)
}

// stat reads numbers of the server's INFO.
func stat(b *testing.B, s *redistest.Server, section, pattern string) (sum float64) {
	client := s.Client()
	defer client.Close()
	info, err := client.Info(context.Background(), section).Result()
	if err != nil {
		b.Fatal(err)
	}
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(info, -1) {
		n, _ := strconv.ParseFloat(m[1], 64)
		sum += n
	}
	return sum
}

// BenchmarkAppend is 100 publishers that each send batches of direct messages of 256 bytes and wait for their acknowledgement.
func BenchmarkAppend(b *testing.B) {
	for _, fsync := range []string{"everysec", "always"} {
		for _, shards := range []int{1, 64} {
			for _, size := range []int{1, 20} {
				b.Run(fmt.Sprintf("%s/shards=%d/batch=%d", fsync, shards, size), func(b *testing.B) {
					const publishers = 100
					server := redistest.Start(b, "--appendfsync", fsync)
					s := openNew(b, redisstore.Config{Addrs: []string{server.Addr}}, redisstore.Options{Shards: shards})
					batches := b.N/(publishers*size) + 1
					var all []*publisher
					for i := range publishers {
						all = append(all, newPublisher(s, i, size, batches))
					}
					calls, cpu := stat(b, server, "commandstats", `calls=(\d+)`), stat(b, server, "cpu", `used_cpu_(?:user|sys):([\d.]+)`)
					memory := stat(b, server, "memory", `used_memory:(\d+)`)
					b.ResetTimer()
					for _, p := range all {
						s.Commit(&p.batch)
					}
					for _, p := range all {
						if err := <-p.ended; err != nil {
							b.Fatal(err)
						}
					}
					b.StopTimer()
					messages := float64(batches * publishers * size)
					b.ReportMetric(messages/b.Elapsed().Seconds(), "msg/s")
					b.ReportMetric((stat(b, server, "commandstats", `calls=(\d+)`)-calls)/messages, "commands/msg")
					b.ReportMetric((stat(b, server, "cpu", `used_cpu_(?:user|sys):([\d.]+)`)-cpu)*1e6/messages, "redis-µs/msg")
					b.ReportMetric((stat(b, server, "memory", `used_memory:(\d+)`)-memory)/messages, "redis-B/msg")
				})
			}
		}
	}
}
