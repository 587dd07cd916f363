package legacy

import (
	"encoding/json"
	"io"
	"net/url"
	"strconv"
	"strings"

	"github.com/go-chi/chi/v5"

	"kith/broker"
)

// decode reads a call's body into v. Fields that v does not have are passed over.
func (c *call) decode(v any) error {
	data, err := io.ReadAll(io.LimitReader(c.Body, maxBody+1))
	if err != nil {
		return malformed("the body could not be read")
	}
	if len(data) > maxBody {
		return broker.Errorf(broker.MessageTooLong, "a body has at most %d bytes", maxBody)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return malformed("the body is not the JSON object that this call takes: %v", err)
	}
	return nil
}

// path returns a parameter of the path, decoded.
func (c *call) path(name string) (string, error) {
	value := chi.URLParam(c.Request, name)
	if c.URL.RawPath == "" {
		return value, nil // the router saw the decoded path
	}
	value, err := url.PathUnescape(value)
	if err != nil {
		return "", malformed("the path does not parse")
	}
	return value, nil
}

func (c *call) pathPeer() (broker.PeerID, error) {
	name, err := c.path("peer")
	if err != nil {
		return "", err
	}
	return parsePeer("the path", name)
}

func parsePeer(where, s string) (broker.PeerID, error) {
	peer, ok := broker.ParsePeerID(s)
	if !ok {
		return "", broker.Errorf(broker.InvalidPeer, "%s has no peer id: 1-50 characters without control characters, spaces and / + # : $", where)
	}
	return peer, nil
}

func parseGroup(where, s string) (broker.GroupID, error) {
	group, ok := broker.ParseGroupID(s)
	if !ok {
		return "", malformed("%s is not a group's id: 1-64 of A-Z a-z 0-9 _ . - and not 32 hex digits", where)
	}
	return group, nil
}

func parseConversation(s string) (broker.ConversationID, error) {
	conversation, ok := broker.ParseConversationID(s)
	if !ok {
		return "", malformed("convid is 32 lower-case hex digits, the md5 of the participants, or a group's id")
	}
	return conversation, nil
}

// peerIDs takes ids as they are: the broker checks their form and number.
func peerIDs(names []string) []broker.PeerID {
	peers := make([]broker.PeerID, len(names))
	for i, name := range names {
		peers[i] = broker.PeerID(name)
	}
	return peers
}

// millis returns a time of the query in Unix milliseconds; 0 where it is not said.
func (c *call) millis(name string) (int64, error) {
	text := c.query.Get(name)
	if text == "" {
		return 0, nil
	}
	ms, ok := parseMillis(text)
	if !ok {
		return 0, malformed("%s is Unix milliseconds, decimal", name)
	}
	return ms, nil
}

const (
	defaultLimit = 100
	maxLimit     = 1000
)

// limit returns how many items the query asks for.
func (c *call) limit() (int, error) {
	n, err := c.number("limit", defaultLimit)
	if err != nil {
		return 0, err
	}
	if n == 0 {
		return 0, malformed("limit is a number from 1 to %d", maxLimit)
	}
	return min(n, maxLimit), nil
}

// number returns a count of the query, from 0.
func (c *call) number(name string, standard int) (int, error) {
	text := c.query.Get(name)
	if text == "" {
		return standard, nil
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return 0, malformed("%s is a number, from 0", name)
	}
	return int(n), nil
}

// flag returns a truth value of the query; false where it is not said.
func (c *call) flag(name string) (bool, error) {
	switch text := strings.ToLower(c.query.Get(name)); text {
	case "", "false", "0":
		return false, nil
	case "true", "1":
		return true, nil
	default:
		return false, malformed("%s is true or false", name)
	}
}
