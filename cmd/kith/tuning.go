package main

import (
	"os"
	"runtime"
	"runtime/debug"
)

const (
	// gcPercent trades memory for fewer collections: a message is a few short-lived allocations, and most of the heap
	// is what connections keep. Measured, 300 gives about a tenth more messages a second than Go's 100.
	gcPercent = 300
	// spareProcs is how many goroutines may sit in a system call of the disk while the rest of the program runs: one
	// that syncs, one that compacts. Without them a single core stands still during each sync, up to the 10 ms that the
	// runtime takes to notice.
	spareProcs = 2
)

// tune sets the runtime for a server. What the environment says (GOGC, GOMEMLIMIT, GOMAXPROCS) stays.
func tune() {
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + spareProcs)
	}
}
