package hooks

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// tuneTCP finds dead peers even where no MQTT keep-alive does (spec 2): silent ones by TCP keep-alive, ones that we write
// to by the user timeout.
func tuneTCP(nc net.Conn) {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return
	}
	_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: tcpIdle, Interval: tcpInterval, Count: tcpProbes})
	if raw, err := tcp.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(tcpUserTimeout/time.Millisecond))
		})
	}
}
