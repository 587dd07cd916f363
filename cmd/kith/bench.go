package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"kith/cmd/kith/bench"
)

// benchFlags are what all subcommands of bench share.
type benchFlags struct {
	client   clientFlags
	o        bench.Options
	protocol string
	qos      int
	source   string
	consent  string
	asJSON   bool
}

// benchLimit ends a run that does not end by itself, beside its warm-up and duration.
const benchLimit = 5 * time.Minute

func newBench(p *program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Load a server and measure it, to size your own machines",
		Long: `Bench loads a server with clients of its own, to size your own machines: it tells how many messages and connections it takes, how long
they take, and whether anything was lost, duplicated or out of order; then it exits with 1.

Measure an app made for it: messages stay in the app's history, peers named bench-… stay known for a week, and the app's
rate.messages_per_second bounds each session unless it is 0. Groups are made over MQTT and emptied again; with --rest they
are deleted. Signed apps need their key, as kith send does. Start with the disk: a server that syncs is as fast as that.

Saturated figures tell throughput; their latency is queueing. How long a message takes under a load that you expect tells
--rate. Pin the server and this to different cores, and look at the generator's own CPU: near 100 you measured that.`,
		Example: `  KITH_APPS_0_ID=bench KITH_APPS_0_MASTER_KEY=$(openssl rand -hex 24) KITH_APPS_0_RATE_MESSAGES_PER_SECOND=0 kith serve

  kith bench disk --path data
  kith bench connect --app bench --clients 5000
  kith bench direct --app bench --clients 200 --window 20
  kith bench direct --app bench --clients 200 --rate 10000 --duration 30s
  kith bench direct --app bench --clients 2 --window 100        (one publisher)
  kith bench fanout --app bench --groups 10 --members 100
  kith bench offline --app bench --receivers 1000 --each 20
  kith bench idle --app bench --clients 10000 --source 127.0.0.2-21 --pid $(pgrep -n kith)`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newBenchDirect(p), newBenchFanout(p), newBenchOffline(p), newBenchConnect(p), newBenchIdle(p), newBenchDisk(p))
	for _, c := range cmd.Commands() {
		p.begins(c)
	}
	return cmd
}

type scenario func(context.Context, bench.Options) (*bench.Result, error)

// newScenario is a subcommand of bench with the flags that all have.
func newScenario(p *program, name, short, long, example string, b *benchFlags, run scenario) *cobra.Command {
	cmd := &cobra.Command{
		Use: name, Short: short, Long: long, Example: example, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.bench(cmd.Context(), b, run) },
	}
	f := cmd.Flags()
	f.StringVar(&b.client.addr, "addr", defaultAddr, "the server: `host:port`, or a URL with mqtt, mqtts, ws or wss")
	f.StringVar(&b.client.ca, "ca", "", "PEM `file` of the authority that signed the server's certificate (default: the system's)")
	b.client.key.add(cmd)
	f.StringVar(&b.protocol, "mqtt", "5", "the protocol's `version`, 5 or 3.1.1")
	f.StringVar(&b.o.Target.Prefix, "prefix", "bench", "what the peers' ids begin with; two runs at a time need two")
	f.StringVar(&b.source, "source", "", "local `addresses` to connect from, such as 127.0.0.2-21: one has some 28,000 ports")
	f.IntVar(&b.o.Concurrency, "concurrency", 100, "`connections` that open at once")
	f.IntVar(&b.o.PID, "pid", 0, "the server's `process`, if on this machine, for its CPU and memory")
	f.StringVar(&b.consent, "yes-really-load", "", "the `host` of --addr, to load one that is not this machine")
	f.BoolVar(&b.asJSON, "json", false, "print one JSON object")
	return cmd
}

// addMessages adds the flags of scenarios that send messages.
func (b *benchFlags) addMessages(cmd *cobra.Command) {
	f := cmd.Flags()
	f.IntVar(&b.o.Size, "size", 256, "`bytes` of a message")
	f.IntVar(&b.o.Window, "window", 20, "`messages` that a sender has on their way at once")
	f.DurationVar(&b.o.Drain, "drain", 3*time.Second, "after so long a silence at the end, what has not come is lost")
}

// addPaced adds those of scenarios that send for a time.
func (b *benchFlags) addPaced(cmd *cobra.Command) {
	f := cmd.Flags()
	f.IntVar(&b.qos, "qos", 1, "0 or 1")
	f.Float64Var(&b.o.Rate, "rate", 0, "`messages` a second of all senders together (default: as many as the windows allow)")
	f.DurationVar(&b.o.Warmup, "warmup", time.Second, "how long to send before measuring")
	f.DurationVar(&b.o.Duration, "duration", 10*time.Second, "how long to measure; at most 10m")
}

func newBenchDirect(p *program) *cobra.Command {
	var b benchFlags
	cmd := newScenario(p, "direct", "Pairs of peers, one of each sending to the other",
		`Direct opens pairs of connections; one of each pair sends to the other. With QoS 1 a window closes when the server has a
message on disk, with QoS 0 when it was delivered.`,
		`  kith bench direct --app bench --clients 200
  kith bench direct --app bench --rate 10000 --duration 30s
  kith bench direct --rate 500                    (the demo app, within its rate)`, &b, bench.Direct)
	b.addMessages(cmd)
	b.addPaced(cmd)
	cmd.Flags().IntVar(&b.o.Clients, "clients", 200, "`connections`, half of them sending")
	return cmd
}

func newBenchFanout(p *program) *cobra.Command {
	var b benchFlags
	cmd := newScenario(p, "fanout", "Messages to groups",
		`Fanout makes groups and sends to them. A window closes when all members have a message. The groups are made by requests
over MQTT, signed where there is a key, and emptied at the end; with --rest and the key they are deleted, too.`,
		`  kith bench fanout --app bench --groups 10 --members 100
  kith bench fanout --app bench --groups 1 --members 1900 --rate 20
  kith bench fanout --config kith.yaml --app bench --rest http://127.0.0.1:8080`, &b, bench.Fanout)
	b.addMessages(cmd)
	b.addPaced(cmd)
	f := cmd.Flags()
	f.IntVar(&b.o.Groups, "groups", 10, "how many `groups`")
	f.IntVar(&b.o.Members, "members", 100, "receiving `members` of each")
	f.IntVar(&b.o.Publishers, "publishers", 1, "sending `members` of each, besides")
	f.StringVar(&b.o.REST, "rest", "", "base `URL` of the server's REST, to delete the groups at the end; needs the key")
	return cmd
}

func newBenchOffline(p *program) *cobra.Command {
	var b benchFlags
	cmd := newScenario(p, "offline", "Messages for peers who are away, and their return",
		`Offline lets receivers connect and go, sends each of them messages, and lets all return at once. It tells how many
messages a second are stored, how many drained, and how long a receiver takes from connecting to its last message.
An app keeps 50 for each device by default (queue.messages).`,
		`  kith bench offline --app bench --receivers 1000 --each 20`, &b, bench.Offline)
	b.addMessages(cmd)
	b.qos = 1
	f := cmd.Flags()
	f.IntVar(&b.o.Receivers, "receivers", 1000, "`peers` who are away")
	f.IntVar(&b.o.Each, "each", 20, "`messages` for each")
	return cmd
}

func newBenchConnect(p *program) *cobra.Command {
	var b benchFlags
	cmd := newScenario(p, "connect", "Open connections as fast as possible",
		`Connect opens connections, --concurrency at a time, and closes them again. With a key every login is signed: compare.`,
		`  kith bench connect --app bench --clients 5000
  kith bench connect --config kith.yaml --app bench --clients 5000        (signed)`, &b, bench.Connect)
	cmd.Flags().IntVar(&b.o.Clients, "clients", 5000, "how many `connections`")
	return cmd
}

func newBenchIdle(p *program) *cobra.Command {
	var b benchFlags
	cmd := newScenario(p, "idle", "Hold connections that say nothing",
		`Idle opens connections and holds them; each pings now and then. With --pid it tells the server's memory for each
connection, and its CPU.`,
		`  kith bench idle --app bench --clients 10000 --duration 1m --pid $(pgrep -n kith)
  kith bench idle --app bench --clients 50000 --source 127.0.0.2-21`, &b, bench.Idle)
	f := cmd.Flags()
	f.IntVar(&b.o.Clients, "clients", 1000, "how many `connections`")
	f.DurationVar(&b.o.Ping, "ping", 30*time.Second, "how long a connection waits between pings")
	f.DurationVar(&b.o.Warmup, "settle", 2*time.Second, "how long to wait before measuring")
	f.DurationVar(&b.o.Duration, "duration", 20*time.Second, "how long to measure; at most 10m")
	return cmd
}

// bench runs a scenario and tells what it found, also when it did not go to its end.
func (p *program) bench(ctx context.Context, b *benchFlags, run scenario) error {
	o, err := b.options(p)
	if err != nil {
		return err
	}
	if err := bench.RaiseDescriptors(o.Connections()); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, benchLimit+o.Warmup+o.Duration, fmt.Errorf("not done within %v", benchLimit+o.Warmup+o.Duration))
	defer cancel()
	result, err := run(ctx, o)
	if result != nil && result.Seconds > 0 {
		if werr := p.tell(result, b.asJSON); werr != nil {
			return werr
		}
	}
	return err
}

func (p *program) tell(result *bench.Result, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(p.stdout).Encode(result)
	}
	return result.WriteText(p.stdout)
}

func newBenchDisk(p *program) *cobra.Command {
	var path string
	var size int
	var duration time.Duration
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "disk",
		Short: "Measure how long a folder's disk takes to sync",
		Long: `Disk appends to a file of its own in the folder and syncs it (fdatasync), over and over, and removes it. A server that
acknowledges what is on disk cannot acknowledge sooner; what waits meanwhile shares one sync.`,
		Example: `  kith bench disk --path data`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if size < 1 || size > 16<<20 || duration <= 0 || duration > time.Minute {
				return usagef("--size is 1–16777216, --duration at most 1m")
			}
			d, err := bench.Disk(cmd.Context(), path, size, duration)
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(p.stdout).Encode(d)
			}
			_, err = fmt.Fprintf(p.stdout, "fdatasync of %d bytes in %s, %d times: p50 %g ms, p99 %g ms, p99.9 %g ms, max %g ms\n",
				d.Bytes, d.Path, d.Syncs, d.Sync.P50, d.Sync.P99, d.Sync.P999, d.Sync.Max)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&path, "path", "data", "the `folder`, such as the server's store.path")
	f.IntVar(&size, "size", 4096, "`bytes` to write before each sync")
	f.DurationVar(&duration, "duration", 3*time.Second, "for how long; at most 1m")
	f.BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}
