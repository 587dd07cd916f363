package main

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/eclipse/paho.golang/paho"
)

// arrival is a delivery as tail and chat show it.
type arrival struct {
	Kind    string          `json:"kind"` // message, presence, event
	Event   string          `json:"event,omitempty"`
	From    string          `json:"from,omitempty"`
	To      string          `json:"to,omitempty"`
	Group   string          `json:"group,omitempty"`
	Peer    string          `json:"peer,omitempty"`
	Status  string          `json:"status,omitempty"`
	ID      string          `json:"id,omitempty"`
	TS      int64           `json:"ts,omitempty"`
	Offline bool            `json:"offline,omitempty"`
	Message *string         `json:"message,omitempty"`
	Data    []byte          `json:"data,omitempty"`   // of a message that is no text
	Detail  json.RawMessage `json:"detail,omitempty"` // of an event
}

// readArrival understands a delivery by its topic (spec 3). ok is false for what is none of those.
func readArrival(p *paho.Publish) (a arrival, ok bool) {
	user := func(name string) string {
		if p.Properties == nil {
			return ""
		}
		return p.Properties.User.Get(name)
	}
	a.ID = user("id")
	a.TS, _ = strconv.ParseInt(user("ts"), 10, 64) // 0 where there is none
	a.Offline = user("offline") == "true"
	part := strings.Split(p.Topic, "/")
	if len(part) == 3 && part[1] == "presence" {
		a.Kind, a.Peer, a.Status = "presence", part[2], string(p.Payload)
		return a, true
	}
	if len(part) != 4 {
		return a, false
	}
	switch part[1] {
	case "peer":
		a.Kind, a.To, a.From = "message", part[2], part[3]
	case "group":
		a.Kind, a.Group, a.From = "message", part[2], part[3]
	case "event":
		a.Kind, a.Event, a.Peer = "event", part[3], part[2]
	default:
		return a, false
	}
	if a.Kind == "event" {
		if json.Valid(p.Payload) {
			a.Detail = p.Payload
		}
		return a, true
	}
	if utf8.Valid(p.Payload) {
		text := string(p.Payload)
		a.Message = &text
	} else {
		a.Data = p.Payload
	}
	return a, true
}

// clock is the local time of an arrival, or now where it has none.
func (a *arrival) clock() string {
	at := time.Now()
	if a.TS > 0 {
		at = time.UnixMilli(a.TS)
	}
	return at.Format(time.TimeOnly)
}

// text is the message for a terminal.
func (a *arrival) text() string {
	if a.Message == nil {
		return "(" + count(len(a.Data), "byte") + ", not text)"
	}
	return printable(*a.Message)
}

// printable replaces what could steer a terminal: others choose ids and messages.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return '�'
		}
		return r
	}, s)
}
