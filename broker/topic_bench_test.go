package broker

import "testing"

func BenchmarkParseTopic(b *testing.B) {
	for _, t := range []string{"demo/peer/bob/alice", "demo/group/team/alice", "demo/presence/bob", "demo/topic/a/b/c", "other/peer/bob/alice"} {
		b.Run(t, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				parseTopic("demo", t)
			}
		})
	}
}

func BenchmarkMatchFilter(b *testing.B) {
	for _, f := range []string{"demo/peer/bob/alice", "demo/peer/bob/+", "demo/#", "demo/group/+/+"} {
		b.Run(f, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				matchFilter(f, "demo/peer/bob/alice")
			}
		})
	}
}
