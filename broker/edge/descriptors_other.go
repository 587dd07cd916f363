//go:build !unix

package edge

import "math"

// descriptorLimit is how many connections the process's limit of descriptors allows: here there is none to ask for.
func descriptorLimit() int { return math.MaxInt32 }
