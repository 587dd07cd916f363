package configs

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"kith/api"
	"kith/broker"
	"kith/broker/edge"
	"kith/hooks"
)

// The checks of single values. Each returns what is wrong, or "".

func address(value any) string {
	addr := *value.(*string)
	if addr == "" {
		return ""
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return quote(addr) + ` is not an address; write host:port, :port for all interfaces, or "" for off`
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return quote(addr) + " has no port between 0 and 65535"
	}
	return ""
}

// addresses checks IP addresses and ranges of them.
func addresses(value any) string {
	for _, s := range *value.(*[]string) {
		if _, err := edge.ParsePrefix(s); err != nil {
			return quote(s) + " is no address; write such as 10.0.0.7 or 10.0.0.0/8"
		}
	}
	return ""
}

// origins checks what browsers call the origin of a page.
func origins(value any) string {
	for _, s := range *value.(*[]string) {
		if u, err := url.Parse(s); s != hooks.AnyOrigin && (err != nil || u.Scheme == "" || u.Host == "" || u.Scheme+"://"+u.Host != s) {
			return quote(s) + ` is no origin; write such as https://chat.example.org, without a path, or "*" for any`
		}
	}
	return ""
}

// loopback reports whether only this machine can reach the address.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func nodeName(value any) string {
	name := *value.(*string)
	if _, ok := broker.ParseAppID(name); name != "" && !ok {
		return quote(name) + " is not 1–64 of A–Z a–z 0–9 _ . -"
	}
	return ""
}

// reference checks an MQTT 5 Server Reference: host or host:port, one or several with spaces between.
func reference(value any) string {
	const most = 256
	s := *value.(*string)
	if len(s) > most || strings.ContainsFunc(s, unicode.IsControl) || !utf8.ValidString(s) {
		return fmt.Sprintf("is over %d bytes or holds control characters; write host:port, or several with spaces between", most)
	}
	return ""
}

func appID(value any) string {
	id := *value.(*string)
	if id == "" {
		return "missing: every app needs an id"
	}
	if _, ok := broker.ParseAppID(id); !ok {
		return quote(id) + " is not 1–64 of A–Z a–z 0–9 _ . -"
	}
	return ""
}

func filled(value any) string {
	if *value.(*string) == "" {
		return "must not be empty"
	}
	return ""
}

// redisPrefix keeps out what has a meaning in the names of a Redis Cluster.
func redisPrefix(value any) string {
	if strings.ContainsAny(*value.(*string), "{}\x00") {
		return "holds a brace, which Redis Cluster keeps for hash tags"
	}
	return filled(value)
}

// Placeholder stands for a secret in the example file.
const Placeholder = "…"

func secret(value any) string {
	switch *value.(*string) {
	case "":
		return "missing: make one, for example with: openssl rand -hex 24"
	case Placeholder:
		return "is still the example's: make one, for example with: openssl rand -hex 24"
	case Mask:
		return "is masked, as kith check --print shows it: put the secret itself"
	}
	return ""
}

func tokenHash(value any) string {
	if _, err := api.ParseTokenHash(*value.(*string)); *value.(*string) != "" && err != nil {
		return err.Error()
	}
	return ""
}

// token may be empty where a token_hash stands.
func token(value any) string {
	if *value.(*string) == "" {
		return ""
	}
	if strings.ContainsFunc(*value.(*string), func(r rune) bool { return r <= ' ' || r > '~' && string(r) != Placeholder }) {
		return "must be printable ASCII without spaces, as it travels in a header"
	}
	return secret(value)
}

func oneOf(values ...string) func(any) string {
	return func(value any) string {
		if s := *value.(*string); !slices.Contains(values, s) {
			return fmt.Sprintf("%s is not %s", quote(s), orList(values))
		}
		return ""
	}
}

func between(low, high int) func(any) string {
	return func(value any) string {
		if n := *value.(*int); n < low || n > high {
			return fmt.Sprintf("%d is not between %d and %d", n, low, high)
		}
		return ""
	}
}

// rates bounds how often, or how much, a second. 0 is no bound.
func rates(most float64) func(any) string {
	return func(value any) string {
		if f := *value.(*float64); f < 0 || f > most {
			return fmt.Sprintf("%g is not between 0 and %s", f, strconv.FormatFloat(most, 'f', -1, 64))
		}
		return ""
	}
}

// longest keeps sums with the clock's time far from overflow.
const longest = 100 * 366 * day

func lasting(atLeast time.Duration) func(any) string {
	return func(value any) string {
		switch d := *value.(*time.Duration); {
		case d < 0, d < atLeast:
			return formatDuration(d) + " is too short"
		case d > longest:
			return formatDuration(d) + " is over a hundred years"
		}
		return ""
	}
}

// filters checks topic filters [MQTT-4.7.1-1], [MQTT-4.7.1-2].
func filters(value any) string {
	for _, f := range *value.(*[]string) {
		if f == "" || strings.ContainsRune(f, 0) || !utf8.ValidString(f) || len(f) > 1024 {
			return quote(f) + " is not a topic filter"
		}
		levels := strings.Split(f, "/")
		for i, level := range levels {
			if strings.ContainsAny(level, "+#") && len(level) > 1 {
				return quote(f) + ": + and # must stand alone between slashes"
			}
			if level == "#" && i < len(levels)-1 {
				return quote(f) + ": # must come last"
			}
		}
	}
	return ""
}
