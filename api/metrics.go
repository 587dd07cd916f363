package api

import (
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"kith/broker"
)

// MetricSource is a part of the server that counts, such as a store or the MQTT listeners.
type MetricSource interface {
	// EachMetric yields each metric's name, a sentence of help and its present value. A name that ends in "_total" is a
	// counter, any other a gauge; the server puts "kith_" and the part's name in front. It is called at each scrape, must be
	// safe for concurrent use and must not block.
	EachMetric(yield func(name, help string, value float64))
}

// newRegistry gathers all metrics of one server.
func newRegistry(stats func() broker.Stats, sources map[string]MetricSource, requests prometheus.Collector) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		statsCollector(stats),
		sourceCollector(sources),
		requests,
	)
	return r
}

// statsCollector turns broker.Stats into metrics.
type statsCollector func() broker.Stats

// Describe says nothing, which prometheus takes for "known only when collected".
func (statsCollector) Describe(chan<- *prometheus.Desc) {}

// Collect yields the broker's counts as of now.
func (c statsCollector) Collect(out chan<- prometheus.Metric) {
	s := c()
	emit := func(name, help string, value float64, labels ...string) {
		out <- constMetric("kith_"+name, help, value, labels...)
	}
	emit("sessions", "Connections now.", float64(s.Sessions))
	emit("peers_online", "Peers online now.", float64(s.PeersOnline))
	emit("messages_accepted_total", "Messages accepted, by kind.", float64(s.Accepted), "kind", "persistent")
	emit("messages_accepted_total", "Messages accepted, by kind.", float64(s.Transient), "kind", "transient")
	emit("deliveries_total", "Deliveries written to receivers.", float64(s.Delivered))
	emit("deliveries_acknowledged_total", "Deliveries that receivers acknowledged.", float64(s.Acknowledged))
	emit("missed_total", "Messages that fell out of a full queue.", float64(s.Missed))
	for code, n := range s.Refused {
		emit("refused_total", "Refusals, by error.", float64(n), "code", strconv.Itoa(int(code)), "error", code.Name())
	}
}

// sourceCollector turns what other parts count into metrics; its keys are the parts' names.
type sourceCollector map[string]MetricSource

// Describe says nothing, which prometheus takes for "known only when collected".
func (sourceCollector) Describe(chan<- *prometheus.Desc) {}

// Collect yields the parts' counts as of now.
func (c sourceCollector) Collect(out chan<- prometheus.Metric) {
	for part, source := range c {
		source.EachMetric(func(name, help string, value float64) {
			out <- constMetric("kith_"+part+"_"+name, help, value)
		})
	}
}

// constMetric makes a metric whose kind is told by its name. labels are name, value, name, value …
func constMetric(name, help string, value float64, labels ...string) prometheus.Metric {
	kind := prometheus.GaugeValue
	if strings.HasSuffix(name, "_total") {
		kind = prometheus.CounterValue
	}
	var names, values []string
	for pair := range slices.Chunk(labels, 2) {
		names, values = append(names, pair[0]), append(values, pair[1])
	}
	desc := prometheus.NewDesc(name, help, names, nil)
	m, err := prometheus.NewConstMetric(desc, kind, value, values...)
	if err != nil {
		return prometheus.NewInvalidMetric(desc, err) // reported at the scrape
	}
	return m
}

// newRequestMetric measures requests by route, so that ids in paths do not make series.
func newRequestMetric() *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "kith_http_request_duration_seconds",
		Help:    "How long HTTP requests took.",
		Buckets: []float64{.001, .005, .02, .1, .5, 2, 10},
	}, []string{"method", "route", "status"})
}

// serveMetrics answers a scrape. It takes an operator's token unless it is public.
func (s *Server) serveMetrics(gatherer prometheus.Gatherer, public bool) http.HandlerFunc {
	scrape := promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{
		ErrorLog:      slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
		ErrorHandling: promhttp.ContinueOnError,
		Timeout:       10 * time.Second,
	})
	return func(w http.ResponseWriter, r *http.Request) {
		if !public {
			c, err := s.guard.authenticate(r)
			if err == nil {
				err = c.mustBe(RoleViewer)
			}
			if err == nil {
				err = s.guard.within(c)
			}
			if err != nil {
				problemOf(r.Context(), s.log, err).write(w)
				return
			}
		}
		scrape.ServeHTTP(w, r)
	}
}

// documentMetrics adds the scrape to the OpenAPI document; it is no operation of huma's as it does not answer JSON.
func (s *Server) documentMetrics() {
	o := operation{path: "/metrics", role: RoleViewer}
	responses := o.responses(s.problemSchema())
	responses["200"] = &huma.Response{
		Description: "Prometheus text.",
		Content: map[string]*huma.MediaType{"text/plain": {
			Schema:  &huma.Schema{Type: huma.TypeString},
			Example: "kith_sessions 42\n",
		}},
	}
	s.huma.OpenAPI().AddOperation(&huma.Operation{
		Method: http.MethodGet, Path: o.path, OperationID: "metrics", Tags: []string{"health"},
		Summary:     "Scrape metrics",
		Description: "For Prometheus. Any operator may, and anybody if the settings say so.",
		Security:    o.security(),
		Responses:   responses,
	})
}
