package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"kith/configs"
)

// banner is what serve prints when it listens: one line for programs, and for the demo app what a newcomer does next.
func banner(n *node) string {
	var b strings.Builder
	fmt.Fprintf(&b, "kith %s listens:", version())
	for _, l := range n.listeners {
		fmt.Fprintf(&b, " %s=%s", l.name, l.Addr())
	}
	b.WriteByte('\n')
	if n.cfg.Demo {
		b.WriteString(demoBanner(n))
	}
	return b.String()
}

func demoBanner(n *node) string {
	key, token := n.cfg.DemoKeys()
	var b strings.Builder
	fmt.Fprintf(&b, `
There is no settings file, so this is the app %q, for trying things out.

  master key      %s
  operator token  %s
                  (kept in %s)
`, configs.DemoApp, key, token, n.cfg.DemoFile())
	if host, port, ok := n.address("mqtt"); ok {
		at := ""
		if host != "127.0.0.1" {
			at += " -h " + host
		}
		if port != "1883" {
			at += " -p " + port
		}
		fmt.Fprintf(&b, `
In one terminal, bob listens:

  mosquitto_sub%[1]s -i bob -u demo -t demo/peer/bob/+ -q 1

In another, alice writes to him:

  mosquitto_pub%[1]s -i alice/cli -u demo -P '{"watch":["bob"],"receive":"none"}' -t demo/peer/bob/alice -q 1 -m hello

Or, with this program alone:

  %[3]s chat%[2]s --peer alice --watch bob
  %[3]s chat%[2]s --peer bob --watch alice
`, at, chatAddress(host, port), selfCommand())
	}
	if host, port, ok := n.address("http"); ok {
		scheme := "http"
		if n.secure {
			scheme = "https"
		}
		fmt.Fprintf(&b, `
What was said:

  curl -u demo:%s '%s://%s/v1/apps/demo/messages'
`, key, scheme, net.JoinHostPort(host, port))
	}
	b.WriteString("\nCtrl-C stops it.\n\n")
	return b.String()
}

// selfCommand is how this program was started, so that the lines above work as pasted beside "make run" too.
func selfCommand() string {
	switch path, err := os.Executable(); {
	case err != nil:
		return "kith"
	case strings.Contains(path, "go-build"):
		return "go run ./cmd/kith"
	case strings.ContainsRune(os.Args[0], filepath.Separator):
		return os.Args[0]
	}
	return "kith"
}

func chatAddress(host, port string) string {
	if at := net.JoinHostPort(host, port); at != defaultAddr {
		return " --addr " + at
	}
	return ""
}

// address is where a client on this machine reaches a listener.
func (n *node) address(name string) (host, port string, ok bool) {
	for _, l := range n.listeners {
		if l.name != name {
			continue
		}
		tcp, isTCP := l.Addr().(*net.TCPAddr)
		if !isTCP {
			return "", "", false
		}
		host = tcp.IP.String()
		if tcp.IP.IsUnspecified() {
			host = "127.0.0.1"
		}
		return host, fmt.Sprint(tcp.Port), true
	}
	return "", "", false
}
