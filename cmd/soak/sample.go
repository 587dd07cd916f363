package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"kith/cmd/torture/world"
)

// metric is a figure that is sampled.
type metric struct {
	key   string  // its column
	title string  // on the graph
	name  string  // at /metrics; empty: of the load
	unit  float64 // what a figure is divided by
	least float64 // a rise of no more than this is none, however small the figure
	grows float64 // by how much of its mean it may rise and still be flat
}

// metrics are all that is sampled. A tenth is what chance does to a figure that goes up and down with the rounds; times vary more.
var metrics = []metric{
	{"rss_mb", "resident memory, MB", "process_resident_memory_bytes", 1e6, 8, 0.1},
	{"heap_mb", "heap in use, MB", "go_memstats_heap_inuse_bytes", 1e6, 8, 0.1},
	{"goroutines", "goroutines", "go_goroutines", 1, 50, 0.1},
	{"descriptors", "descriptors", "process_open_fds", 1, 50, 0.1},
	{"disk_mb", "store on disk, MB", "kith_store_disk_bytes", 1e6, 32, 0.1},
	{"p50_ms", "end to end, p50, ms", "", 1, 1, 0.25},
	{"p99_ms", "end to end, p99, ms", "", 1, 5, 0.25},
}

// sample is all figures at a time, by the order of metrics.
type sample struct {
	At     float64   `json:"at_s"`
	Values []float64 `json:"values"`
}

type sampler struct {
	node    *world.Node
	load    *soakLoad
	began   time.Time
	samples []sample
	p50     float64
	p99     float64
}

const scrapeTimeout = 10 * time.Second

// take takes a sample. Before the first round ended there is none.
func (s *sampler) take(ctx context.Context) error {
	if t := s.load.times(); t != nil {
		s.p50, s.p99 = t.P50, t.P99
	}
	if s.p99 == 0 {
		return nil
	}
	families, err := s.scrape(context.WithoutCancel(ctx))
	if err != nil {
		return fmt.Errorf("sample: %w", err)
	}
	values := make([]float64, len(metrics))
	for i, m := range metrics {
		switch m.key {
		case "p50_ms":
			values[i] = s.p50
		case "p99_ms":
			values[i] = s.p99
		default:
			if values[i], err = gauge(families, m.name); err != nil {
				return err
			}
			values[i] /= m.unit
		}
	}
	s.samples = append(s.samples, sample{time.Since(s.began).Seconds(), values})
	return nil
}

func (s *sampler) scrape(ctx context.Context) (map[string]*dto.MetricFamily, error) {
	ctx, cancel := context.WithTimeout(ctx, scrapeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.node.URL()+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+world.Token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("/metrics: %s", resp.Status)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	return parser.TextToMetricFamilies(resp.Body)
}

func gauge(families map[string]*dto.MetricFamily, name string) (float64, error) {
	f := families[name]
	if f == nil || len(f.Metric) != 1 || f.Metric[0].Gauge == nil {
		return 0, fmt.Errorf("/metrics has no %s", name)
	}
	return f.Metric[0].Gauge.GetValue(), nil
}
