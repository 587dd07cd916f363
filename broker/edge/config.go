package edge

import (
	"net/netip"
	"time"
)

// ProxyConfig says whose PROXY protocol headers count (listen.proxy).
type ProxyConfig struct {
	// Trusted are addresses and ranges of the proxies in front; each connection from there must begin with a header.
	Trusted []string `yaml:"trusted"`
}

// Limits bound what strangers can take of a node, before any app's own limits (section limits).
type Limits struct {
	Connections int           `yaml:"connections"`  // of all listeners; 0: as many as the process may have descriptors
	MemoryBytes int           `yaml:"memory_bytes"` // new work is refused before it is used up; 0: GOMEMLIMIT, or the container's
	Exempt      []string      `yaml:"exempt"`       // addresses and ranges that the limits by address are not for
	Address     AddressLimits `yaml:"address"`
}

// AddressLimits hold for each IPv4 address and each IPv6 /64.
type AddressLimits struct {
	Connections       int           `yaml:"connections"`         // open at once; 0: no bound
	ConnectsPerSecond float64       `yaml:"connects_per_second"` // 0: no bound
	Burst             int           `yaml:"burst"`               // CONNECTs at once
	Failures          int           `yaml:"failures"`            // wrong signatures within a minute that lead to a ban; 0: never
	Ban               time.Duration `yaml:"ban"`                 // the first; each further one is twice as long, up to an hour
}

// DefaultLimits returns the defaults: wide enough for an office behind one address, and nothing for this machine itself.
func DefaultLimits() Limits {
	return Limits{
		Exempt:  []string{"127.0.0.0/8", "::1"},
		Address: AddressLimits{Connections: 10_000, ConnectsPerSecond: 200, Burst: 2000, Failures: 100, Ban: time.Minute},
	}
}

// parsePrefixes reads what ParsePrefix takes, and passes over the rest.
func parsePrefixes(list []string) []netip.Prefix {
	all := make([]netip.Prefix, 0, len(list))
	for _, s := range list {
		if p, err := ParsePrefix(s); err == nil {
			all = append(all, p)
		}
	}
	return all
}

func contains(all []netip.Prefix, addr netip.Addr) bool {
	for _, p := range all {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
