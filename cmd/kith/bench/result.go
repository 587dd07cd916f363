package bench

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Result is what a run found, in the order in which it is told. What does not apply is left out.
type Result struct {
	Scenario string  `json:"scenario"`
	Server   string  `json:"server"`
	App      string  `json:"app"`
	MQTT     string  `json:"mqtt"`
	Signed   bool    `json:"signed"`
	Clients  int     `json:"clients"`
	Groups   int     `json:"groups,omitempty"`
	Members  int     `json:"members_each,omitempty"`
	QoS      *int    `json:"qos,omitempty"`
	Size     int     `json:"size_bytes,omitempty"`
	Window   int     `json:"window,omitempty"`
	Rate     float64 `json:"offered_per_s,omitempty"`
	Seconds  float64 `json:"seconds"`

	Connects   float64 `json:"connects_per_s,omitempty"`
	Acks       float64 `json:"acked_per_s,omitempty"`
	Deliveries float64 `json:"delivered_per_s,omitempty"`
	Stored     float64 `json:"stored_per_s,omitempty"`
	Drained    float64 `json:"drained_per_s,omitempty"`
	Pings      int64   `json:"pings,omitempty"`

	Connect  *Percentiles `json:"connect_ms,omitempty"`
	Ack      *Percentiles `json:"ack_ms,omitempty"`
	EndToEnd *Percentiles `json:"end_to_end_ms,omitempty"`
	CatchUp  *Percentiles `json:"catch_up_ms,omitempty"`
	Ping     *Percentiles `json:"ping_ms,omitempty"`

	Verdict *Verdict `json:"messages,omitempty"`
	Lost    int64    `json:"connections_lost"`

	GeneratorCPU float64  `json:"generator_cpu_percent"`
	ServerCPU    float64  `json:"server_cpu_percent,omitempty"`
	ServerRSS    float64  `json:"server_memory_mb,omitempty"`
	PerConn      float64  `json:"server_memory_per_connection_kb,omitempty"`
	Notes        []string `json:"notes,omitempty"`
}

// Verdict is what became of all messages, those of the warm-up too.
type Verdict struct {
	Sent        int64 `json:"sent"`
	Acked       int64 `json:"acked"`
	Refused     int64 `json:"refused"`
	Due         int64 `json:"due"`
	Delivered   int64 `json:"delivered"`
	Lost        int64 `json:"lost"`
	Duplicated  int64 `json:"duplicated"`
	OutOfOrder  int64 `json:"out_of_order"`
	Redelivered int64 `json:"marked_redelivered"`
}

// Err is what must not happen and did, or nil.
func (r *Result) Err() error {
	if v := r.Verdict; v != nil && v.Lost+v.Duplicated+v.OutOfOrder > 0 {
		return fmt.Errorf("%d lost, %d duplicated, %d out of order", v.Lost, v.Duplicated, v.OutOfOrder)
	}
	if r.Lost > 0 {
		return fmt.Errorf("%d connections were lost", r.Lost)
	}
	return nil
}

// newResult is what all scenarios tell.
func (r *run) newResult(scenario string, clients int) *Result {
	t := &r.o.Target
	return &Result{Scenario: scenario, Server: t.Addr, App: string(t.App), MQTT: map[byte]string{4: "3.1.1", 5: "5"}[t.Version], Signed: t.Key != "", Clients: clients}
}

// messages adds what became of the messages; all connections have ended.
func (r *run) messages(out *Result) {
	qos := int(r.o.QoS)
	out.QoS, out.Size, out.Window, out.Rate = &qos, r.o.Size, r.o.Window, r.o.Rate
	v := &Verdict{
		Sent: r.sent.Load(), Acked: r.acked.Load(), Refused: r.refused.Load(), Delivered: r.delivered.Load(),
		Duplicated: r.duplicated.Load(), OutOfOrder: r.disordered.Load(), Redelivered: r.redelivered.Load(),
	}
	v.Due, v.Lost = missing(r.streams)
	out.Verdict = v
	out.Ack, out.EndToEnd = r.ack.percentiles(), r.latency.percentiles()
	if n := r.missed.Load(); n > 0 {
		out.Notes = append(out.Notes, fmt.Sprintf("the server told %d receivers that more waited than its queue keeps (queue.messages, queue.connected)", n))
	}
}

// finish adds what a run tells at its end, and ends the progress line.
func (r *run) finish(out *Result) {
	r.line.stop()
	out.Lost = r.disconnected.Load()
	if out.GeneratorCPU == 0 {
		out.GeneratorCPU = percent(ownCPU()-r.cpu, clock()-r.began)
	}
}

// usage is what the server used between two looks.
type usage struct {
	pid      int
	cpu, rss float64
	at       int64
}

func lookAt(pid int) usage {
	cpu, rss := processUsage(pid)
	return usage{pid, cpu, rss, clock()}
}

// server adds what the server used since u.
func (out *Result) server(u usage) {
	if u.pid == 0 {
		return
	}
	now := lookAt(u.pid)
	out.ServerCPU = percent(now.cpu-u.cpu, now.at-u.at)
	out.ServerRSS = rounded(now.rss / 1e6)
}

// rounded keeps what a figure is good for: three or four digits.
func rounded(f float64) float64 {
	if f == 0 || math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	if math.Abs(f) >= 1000 {
		return math.Round(f)
	}
	scale := math.Pow(10, 3-math.Floor(math.Log10(math.Abs(f))))
	return math.Round(f*scale) / scale
}

// percent is how much of one core so many seconds of CPU are, in d nanoseconds.
func percent(cpu float64, d int64) float64 {
	if d <= 0 {
		return 0
	}
	return rounded(100 * cpu / (float64(d) / 1e9))
}

func perSecond(n int64, d int64) float64 {
	if d <= 0 {
		return 0
	}
	return rounded(float64(n) / (time.Duration(d)).Seconds())
}

// ended joins what cut a run short with what it found all the same.
func ended(err error, out *Result) error {
	return errors.Join(err, out.Err())
}
