package edge

import (
	"errors"
	"net"
	"net/netip"
)

// Addr is the IP address of a, the zero Addr where it has none, as on a Unix socket.
func Addr(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap().WithZone("")
	}
	return ParseAddr(a.String())
}

// ParseAddr is Addr for "host:port".
func ParseAddr(hostPort string) netip.Addr {
	ap, err := netip.ParseAddrPort(hostPort)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}

// Subscriber is what one party holds: an IPv4 address, or the /64 that an IPv6 subscriber can choose from freely; the zero
// Prefix for the zero Addr.
func Subscriber(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	p, _ := addr.Prefix(bits) // fails for the zero address only
	return p
}

// ParsePrefix reads an address, or a range such as 10.0.0.0/8.
func ParsePrefix(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil {
		addr = addr.Unmap().WithZone("")
		return addr.Prefix(addr.BitLen())
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	if p.Addr().Is4In6() {
		return netip.Prefix{}, errors.New("write the range of IPv4 addresses as such")
	}
	return p.Masked(), nil
}
