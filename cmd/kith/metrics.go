package main

import (
	"kith/bridge/redisbus"
	"kith/broker/edge"
	"kith/broker/pebblestore"
	"kith/broker/redisstore"
	"kith/hooks"
)

// pebbleMetrics tells the embedded store's figures to api.
type pebbleMetrics struct{ store *pebblestore.Store }

// EachMetric implements api.MetricSource.
func (s pebbleMetrics) EachMetric(yield func(name, help string, value float64)) {
	m := s.store.Metrics()
	yield("commits_total", "Batches committed.", float64(m.Commits))
	yield("groups_total", "Group commits, each one sync.", float64(m.Groups))
	yield("appends_total", "Messages and events appended.", float64(m.Appends))
	yield("written_bytes_total", "Bytes stored, before compression.", float64(m.Bytes))
	yield("sync_seconds", "How long the disk takes for a group, on average.", m.SyncAverage.Seconds())
	yield("queued", "Batches that wait.", float64(m.Queued))
	yield("stalls_total", "Times that writing waited for background work.", float64(m.Stalls))
	yield("troubles_total", "Failures of background work.", float64(m.Troubles))
	yield("disk_bytes", "Bytes on disk.", float64(m.DiskBytes))
	yield("memory_bytes", "Bytes of memtables and cache.", float64(m.MemoryBytes))
}

// redisMetrics tells the figures of the store in Redis to api.
type redisMetrics struct{ store *redisstore.Store }

// EachMetric implements api.MetricSource.
func (s redisMetrics) EachMetric(yield func(name, help string, value float64)) {
	m := s.store.Metrics()
	yield("commits_total", "Batches committed.", float64(m.Commits))
	yield("failed_total", "Batches that Redis did not take.", float64(m.Failed))
	yield("groups_total", "Group commits, each one pipeline or a few.", float64(m.Groups))
	yield("appends_total", "Messages and events appended.", float64(m.Appends))
	yield("answer_seconds", "How long Redis takes for a group, on average.", m.AnswerAverage.Seconds())
	yield("queued", "Batches that wait.", float64(m.Queued))
}

// busMetrics tells the figures of the bus between the nodes to api.
type busMetrics struct{ bus *redisbus.Bus }

// EachMetric implements api.MetricSource.
func (s busMetrics) EachMetric(yield func(name, help string, value float64)) {
	m := s.bus.Metrics()
	yield("sent_notes_total", "Notes sent to other nodes.", float64(m.SentNotes))
	yield("sent_bytes_total", "Bytes of the frames they went in.", float64(m.SentBytes))
	yield("sent_frames_total", "Frames, each one PUBLISH.", float64(m.SentFrames))
	yield("unheard_total", "Frames to which no node listened.", float64(m.Unheard))
	yield("dropped_total", "Notes that Redis did not take; other nodes find what they told by themselves.", float64(m.Dropped))
	yield("received_notes_total", "Notes of other nodes.", float64(m.ReceivedNotes))
	yield("received_bytes_total", "Bytes of the frames they came in.", float64(m.ReceivedBytes))
	yield("lost_total", "Times that notes may have been lost, and the store was asked.", float64(m.Lost))
	yield("queued_bytes", "Bytes that wait to be sent.", float64(m.QueuedBytes))
}

// mqttMetrics tells the MQTT side's figures to api.
type mqttMetrics struct{ server *hooks.Server }

// EachMetric implements api.MetricSource.
func (s mqttMetrics) EachMetric(yield func(name, help string, value float64)) {
	m := s.server.Stats()
	for _, transport := range []string{"tcp", "tls", "ws", "wss"} {
		yield("connections_"+transport, "Connections over "+transport+" now.", float64(m.Connections[transport]))
	}
	yield("connections_total", "Connections accepted.", float64(m.Accepted))
	yield("connects_refused_total", "CONNECTs refused.", float64(m.Refused))
	yield("packets_in_total", "Packets received.", float64(m.PacketsIn))
	yield("packets_out_total", "Packets sent to sessions.", float64(m.PacketsOut))
	yield("bytes_in_total", "Bytes received.", float64(m.BytesIn))
	yield("bytes_out_total", "Bytes sent.", float64(m.BytesOut))
	yield("too_large_total", "Deliveries dropped for the client's maximum packet size.", float64(m.TooLarge))
}

// edgeMetrics tells the guard's figures to api.
type edgeMetrics struct{ guard *edge.Guard }

// EachMetric implements api.MetricSource.
func (s edgeMetrics) EachMetric(yield func(name, help string, value float64)) {
	m := s.guard.Stats()
	yield("connections", "Connections of all listeners now.", float64(m.Open))
	yield("cut_total", "Connections closed unheard, far over a limit.", float64(m.Cut))
	yield("refused_full_total", "CONNECTs refused over limits.connections.", float64(m.Full))
	yield("refused_memory_total", "CONNECTs and calls refused for want of memory.", float64(m.Memory))
	yield("refused_connections_total", "CONNECTs refused over limits.address.connections.", float64(m.Connections))
	yield("refused_rate_total", "CONNECTs refused over limits.address.connects_per_second.", float64(m.Rate))
	yield("refused_banned_total", "CONNECTs refused from addresses that failed too often.", float64(m.Banned))
	yield("bans_total", "Addresses banned for failed signatures.", float64(m.Bans))
	yield("memory_needed_bytes", "Memory that lives, without what waits to be collected.", float64(m.MemoryNeed))
	yield("memory_limit_bytes", "The ceiling near which new work is refused; 0: none.", float64(m.MemoryLimit))
}
