package broker

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The kinds of event (spec 6).
const (
	eventSession = "session"
	eventReply   = "reply"
	eventReceipt = "receipt"
	eventMissed  = "missed"
	eventError   = "error"
	eventGroup   = "group"
)

// maxWaitingEvents is how many events wait for a peer (spec 9).
const maxWaitingEvents = 1000

func (s *Session) eventTopic(kind string) string {
	return string(s.app.id) + "/event/" + string(s.peer) + "/" + kind
}

// connectionEvent makes an event for this connection alone: at QoS 0, outside the window (spec 6).
func (s *Session) connectionEvent(kind string, v any) Out {
	g := s.grantFor(s.eventTopic(kind), true)
	return Out{Kind: OutPublish, Topic: s.eventTopic(kind), Payload: mustJSON(v), SubIDs: g.ids}
}

// errorEvent tells of a refused publish that no acknowledgement can carry.
func (s *Session) errorEvent(p *Publish, t string, err *Error) Out {
	return s.connectionEvent(eventError, struct {
		Topic   string `json:"topic"`
		Packet  uint16 `json:"packet,omitempty"`
		Code    Code   `json:"code"`
		Error   string `json:"error"`
		Message string `json:"message"`
	}{strings.ToValidUTF8(t, "?"), p.Tag, err.Code, err.Code.Name(), err.Message})
}

// nextMissed tells what was not delivered and will not be; it is in history.
func (s *Session) nextMissed(out []Out) []Out {
	o := &s.out
	if o.missed.Count == 0 || len(out) == cap(out) {
		return out
	}
	next := s.connectionEvent(eventMissed, o.missed)
	s.b.counters.missed.Add(o.missed.Count)
	told := o.missed
	o.missed = missed{}
	if s.mode == receiveMessages && s.grantFor(next.Topic, false).stopped {
		return out // events only where subscribed (spec 2)
	}
	o.told.add(told)
	o.toldAt = o.flown
	return append(out, next)
}

// A waiting event is stored as its kind, a NUL, the device that must not hear of it (it got a reply), a NUL, and its JSON object. A
// receipt's time is that of the event's id, so that history and event agree; it is put in when the event is delivered.

func storedEvent(kind string, except DeviceID, v any) []byte {
	return append([]byte(kind+"\x00"+string(except)+"\x00"), mustJSON(v)...)
}

func (s *Session) renderEvent(it *item, again bool) (Out, verdict) {
	kind, rest, _ := strings.Cut(string(it.event), "\x00")
	except, body, ok := strings.Cut(rest, "\x00")
	if !ok || len(body) < 2 || except != "" && DeviceID(except) == s.device {
		return Out{}, renderSkip
	}
	if kind == eventReceipt {
		body = body[:len(body)-1] + `,"ts":` + strconv.FormatInt(it.at.ID.Time(), 10) + "}"
	}
	return s.renderNotice(s.eventTopic(kind), body, again)
}

// renderNotice turns an event that takes a place in the window into what is sent.
func (s *Session) renderNotice(t, body string, again bool) (Out, verdict) {
	g := s.grantFor(t, s.mode == receiveAll)
	if g.stopped && !again {
		return Out{}, renderHold
	}
	next := Out{Kind: OutPublish, QoS: min(1, g.qos), Topic: t, Payload: []byte(body), SubIDs: g.ids}
	if s.maxPacket != 0 && s.packetSize(&next) > int(s.maxPacket) {
		return Out{}, renderMiss
	}
	return next, renderSend
}

// renderMembership tells a member, connected when it happened, who came and went.
func (s *Session) renderMembership(it *item, again bool) (Out, verdict) {
	if it.at.ID.Time() < s.since {
		return Out{}, renderSkip
	}
	next, v := s.renderNotice(string(s.app.id)+"/group/"+string(it.msg.Group)+"/$event", string(it.msg.Payload), again)
	if v == renderHold {
		return Out{}, renderSkip
	}
	return next, v
}

// wrap returns the envelope of a message for clients without MQTT 5 properties (spec 5).
func wrap(m *Message, id MessageID, offline bool) []byte {
	e := struct {
		ID        MessageID `json:"id"`
		TS        int64     `json:"ts"`
		From      PeerID    `json:"from"`
		To        []PeerID  `json:"to,omitempty"`
		Group     GroupID   `json:"group,omitempty"`
		Message   *string   `json:"message,omitempty"`
		Data      []byte    `json:"data,omitempty"`
		Transient bool      `json:"transient"`
		Offline   bool      `json:"offline"`
	}{ID: id, TS: id.Time(), From: m.From, Group: m.Group, Transient: m.Transient, Offline: offline}
	if m.Group == "" {
		e.To = m.To
	}
	if utf8.Valid(m.Payload) {
		text := string(m.Payload)
		e.Message = &text
	} else {
		e.Data = m.Payload
	}
	return mustJSON(e)
}

// mustJSON encodes a value of the broker's own types, which always encodes.
func mustJSON(v any) []byte {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic("broker: event does not encode: " + err.Error())
	}
	return []byte(strings.TrimSuffix(b.String(), "\n"))
}
