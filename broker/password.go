package broker

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

// receiveMode says what is delivered to a session without subscribing (spec 2).
type receiveMode byte

const (
	receiveAll      receiveMode = iota
	receiveMessages             // events only where subscribed
	receiveNone                 // nothing, and nothing is consumed
)

// password is the JSON object a client presents as its MQTT password (spec 2).
type password struct {
	Timestamp seconds   `json:"timestamp"`
	Nonce     string    `json:"nonce"`
	Signature string    `json:"signature"`
	Watch     *[]string `json:"watch"`
	Envelope  bool      `json:"envelope"`
	Super     bool      `json:"super"`
	Receive   string    `json:"receive"`
}

const maxPasswordBytes = 16 << 10

// parsePassword parses the password of a CONNECT; an empty one means all defaults.
func parsePassword(raw []byte) (p password, mode receiveMode, err *Error) {
	if len(raw) == 0 {
		return p, receiveAll, nil
	}
	if len(raw) > maxPasswordBytes {
		return p, receiveAll, Errorf(Malformed, "the password is over %d bytes", maxPasswordBytes)
	}
	if err := decodeObject(raw, &p); err != nil {
		return p, receiveAll, Errorf(Malformed, "the password is empty or one JSON object: %s", err)
	}
	switch p.Receive {
	case "", "all":
		mode = receiveAll
	case "messages":
		mode = receiveMessages
	case "none":
		mode = receiveNone
	default:
		return p, receiveAll, Errorf(Malformed, "receive is all, messages or none")
	}
	return p, mode, nil
}

func (p *password) proof() proof {
	return proof{timestamp: string(p.Timestamp), nonce: p.Nonce, signature: p.Signature}
}

// decodeObject parses exactly one JSON object into v. Its errors name the field at fault and never quote the input.
func decodeObject(raw []byte, v any) error {
	if t := bytes.TrimLeft(raw, " \t\r\n"); len(t) == 0 || t[0] != '{' {
		return errors.New("not a JSON object")
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	if err := d.Decode(v); err != nil {
		if te, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			if te.Field == "" {
				return errors.New("a value of the wrong type")
			}
			return errors.New("field " + te.Field + " is of the wrong type")
		}
		return errors.New("JSON that does not parse")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON value")
	}
	return nil
}

// seconds is a timestamp as it was written, a JSON number: what is signed is its text.
type seconds string

// UnmarshalJSON takes a number; null is as good as none.
func (s *seconds) UnmarshalJSON(raw []byte) error {
	if string(raw) == "null" {
		return nil
	}
	if c := raw[0]; c != '-' && (c < '0' || c > '9') {
		return errors.New("timestamp is not a number")
	}
	*s = seconds(raw)
	return nil
}

// parsePeerList checks a list of peer ids: at most limit (4113), each of the form, none empty or repeated (4114).
func parsePeerList[T ~string](field string, ids []T, limit int) ([]PeerID, *Error) {
	if len(ids) > limit {
		return nil, Errorf(LimitExceeded, "%s holds %d ids, at most %d are allowed", field, len(ids), limit)
	}
	peers := make([]PeerID, 0, len(ids))
	seen := make(map[PeerID]struct{}, len(ids))
	for _, s := range ids {
		p, ok := ParsePeerID(string(s))
		if !ok {
			return nil, Errorf(Malformed, "%s holds an id that is not of a peer's form", field)
		}
		if _, dup := seen[p]; dup {
			return nil, Errorf(Malformed, "%s holds an id twice", field)
		}
		seen[p] = struct{}{}
		peers = append(peers, p)
	}
	return peers, nil
}
