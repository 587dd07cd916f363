//go:build !linux

package hooks

import "net"

// tuneTCP finds dead peers by TCP keep-alive (spec 2).
func tuneTCP(nc net.Conn) {
	if tcp, ok := nc.(*net.TCPConn); ok {
		_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: tcpIdle, Interval: tcpInterval, Count: tcpProbes})
	}
}
