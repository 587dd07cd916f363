package api

import (
	"encoding/base64"

	"kith/broker"
)

// A cursor names the last item that was seen. Its first byte says in which kind of list, so that one of another list is
// refused rather than misread.
type listKind byte

const (
	messageList listKind = 'm'
	peerList    listKind = 'p'
	banList     listKind = 'b'
	appList     listKind = 'a'
	groupList   listKind = 'g'
	memberList  listKind = 'u'
	nodeList    listKind = 'n'
	auditList   listKind = 'l'
	traceList   listKind = 't'
	queueList   listKind = 'q'
)

// cursor makes the opaque text of a place in a list.
func (k listKind) cursor(last string) string {
	return base64.RawURLEncoding.EncodeToString(append([]byte{byte(k)}, last...))
}

// last is the inverse of cursor; an empty text is the start of the list.
func (k listKind) last(cursor string) (string, error) {
	if cursor == "" {
		return "", nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(b) < 2 || b[0] != byte(k) {
		return "", malformed("cursor is not one that this list gave out")
	}
	return string(b[1:]), nil
}

// lastPeer is last for lists in the order of peer ids.
func (k listKind) lastPeer(cursor string) (broker.PeerID, error) {
	last, err := k.last(cursor)
	if err != nil || last == "" {
		return "", err
	}
	peer, ok := broker.ParsePeerID(last)
	if !ok {
		return "", malformed("cursor is not one that this list gave out")
	}
	return peer, nil
}

// lastGroup is last for lists in the order of group ids.
func (k listKind) lastGroup(cursor string) (broker.GroupID, error) {
	last, err := k.last(cursor)
	if err != nil || last == "" {
		return "", err
	}
	group, ok := broker.ParseGroupID(last)
	if !ok {
		return "", malformed("cursor is not one that this list gave out")
	}
	return group, nil
}

// lastMessage is last for lists in the order of message ids.
func (k listKind) lastMessage(cursor string) (id broker.MessageID, err error) {
	last, err := k.last(cursor)
	if err != nil || last == "" {
		return id, err
	}
	if id, err = broker.ParseMessageID(last); err != nil {
		return id, malformed("cursor is not one that this list gave out")
	}
	return id, nil
}

// PageQuery is the part of a query that pages through a list.
type PageQuery struct {
	Limit  int    `query:"limit" default:"100" minimum:"1" maximum:"1000" doc:"How many items to answer at most." example:"100"`
	Cursor string `query:"cursor" doc:"The next of the page before." example:"cGFsaWNl"`
}

// Page is one page of a list.
type Page[T any] struct {
	Items []T    `json:"items" nullable:"false" doc:"The items of this page."`
	Next  string `json:"next,omitempty" doc:"The cursor of the next page; absent on the last." example:"cGFsaWNl"`
}

// pageOf makes a page of at most limit out of items, which are one more when there is more. key tells an item's place.
func pageOf[T any](items []T, limit int, kind listKind, key func(*T) string) Page[T] {
	if items == nil {
		items = []T{}
	}
	if len(items) <= limit {
		return Page[T]{Items: items}
	}
	items = items[:limit]
	return Page[T]{Items: items, Next: kind.cursor(key(&items[limit-1]))}
}

// Answer is the form in which operations hand a body to huma.
type Answer[T any] struct{ Body T }

func answer[T any](body T) *Answer[T] { return &Answer[T]{body} }
