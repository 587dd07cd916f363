package archive_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"testing"
	"time"

	"kith/api/archive"
	"kith/broker"
	"kith/broker/pebblestore"
)

// made is a stream of message records of the original service, as many as are asked for: direct ones, to rooms, to conversations, and
// binary ones, among 1,000 peers and 100 groups, one a second.
type made struct {
	left, n int
	rest    []byte
}

func (m *made) Read(b []byte) (int, error) {
	if len(m.rest) == 0 {
		if m.left == 0 {
			return 0, io.EOF
		}
		m.left--
		m.n++
		m.rest = m.record()
	}
	n := copy(b, m.rest)
	m.rest = m.rest[n:]
	return n, nil
}

func (m *made) record() []byte {
	i := m.n
	head := fmt.Sprintf(`{"timestamp":%d,"msg-id":"made-%d","from":"u%d","from-ip":"192.0.2.%d",`, 1408008498571+int64(i)*1000, i, i%1000, i%250)
	switch i % 4 {
	case 0:
		return fmt.Appendf(nil, "%s\"is-room\":true,\"conv-id\":\"room%d\",\"data\":\"a message of the usual length, number %d\"}\n", head, i%100, i)
	case 1:
		return fmt.Appendf(nil, "%s\"is-conv\":true,\"conv-id\":\"conv%d\",\"data\":\"a message of the usual length, number %d\"}\n", head, i%100, i)
	case 2:
		return fmt.Appendf(nil, "%s\"to\":[\"u%d\"],\"bin\":true,\"data\":\"AP8BAgMEBQYHCAk=\"}\n", head, (i+1)%1000)
	}
	return fmt.Appendf(nil, "%s\"to\":\"u%d\",\"data\":\"a message of the usual length, number %d\",\"ack-at\":%d}\n", head, (i+1)%1000, i, 1408008499571+int64(i)*1000)
}

// BenchmarkImport is a whole import into a store on the disk, synced, and then the same again, when all is there already. The variable
// KITH_BENCH_RECORDS says of how many records, else 20,000:
//
//	KITH_BENCH_RECORDS=1000000 go test -run '^$' -bench Import -benchtime 1x -timeout 1h ./api/archive
func BenchmarkImport(b *testing.B) {
	records := 20_000
	if text := os.Getenv("KITH_BENCH_RECORDS"); text != "" {
		var err error
		if records, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	for range b.N {
		b.StopTimer()
		store, err := pebblestore.Open(pebblestore.Config{Path: b.TempDir(), Sync: true}, pebblestore.Options{})
		if err != nil {
			b.Fatal(err)
		}
		br, err := broker.New(broker.Options{Store: store, Node: "bench", Apps: []broker.AppConfig{broker.DefaultAppConfig("demo")}})
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		importMade(b, br, records, "first", archive.Result{Records: records, Messages: records})
		importMade(b, br, records, "again", archive.Result{Records: records, Present: records})
		b.StopTimer()
		if err := store.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func importMade(b *testing.B, br *broker.Broker, records int, name string, want archive.Result) {
	b.Helper()
	began := time.Now()
	got, err := archive.Import(context.Background(), br, "demo", archive.NewReader(&made{left: records}))
	if err != nil {
		b.Fatal(err)
	}
	if got.Records != want.Records || got.Messages != want.Messages || got.Present != want.Present || len(got.Refused) != 0 {
		b.Fatalf("%s: %d records, %d messages, %d present, refused %v", name, got.Records, got.Messages, got.Present, got.Refused)
	}
	b.ReportMetric(float64(records)/time.Since(began).Seconds(), name+"-records/s")
}
