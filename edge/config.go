package edge

import "net/netip"

// ProxyConfig says whose PROXY protocol headers count (listen.proxy).
type ProxyConfig struct {
	// Trusted are addresses and ranges of the proxies in front; each connection from there must begin with a header.
	Trusted []string `yaml:"trusted"`
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
