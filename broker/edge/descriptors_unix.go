//go:build unix

package edge

import (
	"math"

	"golang.org/x/sys/unix"
)

// reserved is how many descriptors are left to the store, which keeps up to 1,000 open and stops when it cannot, and to the rest.
const reserved = 1100

// descriptorLimit is how many connections the process's limit of descriptors allows.
func descriptorLimit() int {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil || limit.Cur > math.MaxInt32 {
		return math.MaxInt32
	}
	n := int(limit.Cur)
	return n - min(reserved, n/4)
}
