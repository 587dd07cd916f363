package broker

import "strings"

// topicKind is the space of topics that a topic or filter lies in (spec 3).
type topicKind byte

const (
	topicNone topicKind = iota
	topicPeer
	topicGroup
	topicPresence
	topicRequest
	topicEvent
	topicFree
)

var topicKinds = map[string]topicKind{
	"peer": topicPeer, "group": topicGroup, "presence": topicPresence,
	"request": topicRequest, "event": topicEvent, "topic": topicFree,
}

// topic is a topic or filter taken apart: {app}/{kind}/{first}/{second}. For topicFree, first holds everything behind the kind.
type topic struct {
	kind   topicKind
	first  string
	second string
	levels int // behind the app: 2 for {app}/presence/{peer}
}

// parseTopic takes t apart if it lies in app; else, or when it has a form that spec 3 does not know, its kind is topicNone.
func parseTopic(app AppID, t string) topic {
	rest, ok := strings.CutPrefix(t, string(app))
	if !ok || rest == "" || rest[0] != '/' {
		return topic{}
	}
	name, rest, ok := strings.Cut(rest[1:], "/")
	if !ok {
		return topic{}
	}
	kind := topicKinds[name]
	if kind == topicFree {
		return topic{kind: kind, first: rest, levels: 2}
	}
	first, second, two := strings.Cut(rest, "/")
	if !two {
		if kind != topicPresence {
			return topic{}
		}
		return topic{kind: kind, first: first, levels: 2}
	}
	if kind == topicPresence || strings.Contains(second, "/") {
		return topic{}
	}
	return topic{kind: kind, first: first, second: second, levels: 3}
}

// matchFilter reports whether an MQTT topic filter matches a topic [MQTT-4.7].
func matchFilter(filter, topic string) bool {
	if topic != "" && topic[0] == '$' && filter != "" && (filter[0] == '+' || filter[0] == '#') {
		return false // [MQTT-4.7.2-1]
	}
	for {
		f, frest, fmore := strings.Cut(filter, "/")
		if f == "#" {
			return true
		}
		t, trest, tmore := strings.Cut(topic, "/")
		if f != "+" && f != t {
			return false
		}
		if !fmore || !tmore {
			return fmore == tmore || (fmore && frest == "#") // "a/#" matches "a" [MQTT-4.7.1-2]
		}
		filter, topic = frest, trest
	}
}

// coversFilter reports whether everything that filter matches is matched by allowed too.
func coversFilter(allowed, filter string) bool {
	for {
		a, arest, amore := strings.Cut(allowed, "/")
		f, frest, fmore := strings.Cut(filter, "/")
		if a == "#" {
			return true
		}
		if f == "#" || (f == "+" && a != "+") || (a != "+" && a != f) {
			return false
		}
		if !amore || !fmore {
			return amore == fmore || (amore && arest == "#")
		}
		allowed, filter = arest, frest
	}
}

func hasWildcard(s string) bool { return strings.ContainsAny(s, "+#") }
