package broker

import (
	"encoding/binary"
	"encoding/json"
	"strings"
)

// deviceRecord is what a session leaves behind, under SpaceDevice.
type deviceRecord struct {
	// Connected is the incarnation of the broker that held the connection; empty once the session ended in order. One
	// that is not this broker's own was cut by a crash: everything accepted before this start was due to the device.
	Connected string    `json:"connected,omitempty"`
	Since     int64     `json:"since"`            // Unix milliseconds of its connect, or of its end
	Absent    MessageID `json:"absent"`           // what is below was accepted while it was connected
	Had       MessageID `json:"had"`              // up to here it has had all of the groups of which it has no place in the log
	Resume    int64     `json:"resume,omitempty"` // Unix milliseconds until which the session may be resumed; 0: closed
	Closed    bool      `json:"closed,omitempty"` // by DISCONNECT: the MQTT session may go on, Kith's does not
	Expiry    int64     `json:"expiry,omitempty"` // with Connected: the session's expiry, in milliseconds
	Watch     []PeerID  `json:"watch,omitempty"`  // watched at open or by request
	Address   string    `json:"address,omitempty"`
	Protocol  string    `json:"protocol,omitempty"`
	Opened    int64     `json:"opened,omitempty"` // Unix milliseconds of its connect: tells the sessions of a device apart
	Will      bool      `json:"will,omitempty"`   // its session has a will, or had one that may be held back still
	MQTT      *mqttPart `json:"mqtt,omitempty"`   // nil: no MQTT session to resume
	// Gaps are what was passed over and the cursors have not; Missed, what the device may not have been told of that.
	Gaps   []gapRecord `json:"gaps,omitempty"`
	Missed missed      `json:"missed,omitzero"`
	// Unacked are deliveries sent and not acknowledged, whether or not the MQTT session goes on.
	Unacked []unackedEntry `json:"unacked,omitempty"`
}

// mqttPart is the MQTT session state that outlives a connection (MQTT 5, 4.1).
type mqttPart struct {
	Subs     []ownSub       `json:"subs,omitempty"`
	Presence []ownSub       `json:"presence,omitempty"`
	Topics   []Subscription `json:"topics,omitempty"`   // of {app}/topic/
	Sent     []sentLog      `json:"sent,omitempty"`     // how far each log was sent
	Releases []uint16       `json:"releases,omitempty"` // publishes of QoS 2 that await PUBREL
	LastTag  uint16         `json:"last_tag,omitempty"` // the packet identifiers used last are used again last
}

type sentLog struct {
	Log string   `json:"log"`
	At  Position `json:"at"`
}

// unackedEntry is a delivery that awaits its acknowledgement.
type unackedEntry struct {
	Log      string   `json:"log"`
	At       Position `json:"at"`
	Tag      uint16   `json:"tag"`
	QoS      byte     `json:"qos"`
	Received bool     `json:"received,omitempty"`
	Attempts int      `json:"attempts"`
}

func deviceKey(app AppID, p PeerID, d DeviceID) Key {
	return Key{Space: SpaceDevice, App: app, Owner: string(p), Name: string(d)}
}

// cursorKey is where a device's place in a log is kept; with an empty device, the place of the furthest of its peer's devices.
func cursorKey(app AppID, p PeerID, d DeviceID, l LogID) Key {
	return Key{Space: SpaceCursor, App: app, Owner: string(p), Name: string(d) + "\x00" + l.short()}
}

// short names a log among those of one peer.
func (l LogID) short() string {
	if l.Kind == LogConversation {
		return string(l.Kind) + l.Owner
	}
	return string(l.Kind)
}

// logOf is the inverse of short.
func logOf(app AppID, p PeerID, short string) LogID {
	l := LogID{Kind: LogKind(short[0]), App: app, Owner: string(p)}
	if l.Kind == LogConversation {
		l.Owner = short[1:]
	}
	return l
}

func encodePosition(p Position) []byte {
	return append(binary.BigEndian.AppendUint64(nil, p.N), p.ID[:]...)
}

func decodePosition(b []byte) (p Position) {
	if len(b) == 8+len(p.ID) {
		p.N = binary.BigEndian.Uint64(b)
		copy(p.ID[:], b[8:])
	}
	return p
}

func encodeTime(ms int64) []byte { return encodePosition(Position{N: uint64(ms)}) } //nolint:gosec // after 1970

func decodeTime(b []byte) int64 { return int64(decodePosition(b).N) } //nolint:gosec // as written

func decodeDevice(b []byte) *deviceRecord {
	r := &deviceRecord{}
	if len(b) == 0 || json.Unmarshal(b, r) != nil {
		return nil
	}
	return r
}

// logOfCursor returns the log in the name of a cursor's key, which follows the device.
func logOfCursor(name string) string {
	_, log, _ := strings.Cut(name, "\x00")
	return log
}
