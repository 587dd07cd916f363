package broker

import "time"

// AppConfig is the settings of one app, with the keys of spec 12. It changes as a whole on a reload.
type AppConfig struct {
	ID                AppID           `yaml:"id"`
	MasterKey         string          `yaml:"master_key"`
	PreviousMasterKey string          `yaml:"previous_master_key"`
	AppKey            string          `yaml:"app_key"`
	Signature         SignatureConfig `yaml:"signature"`
	RequireWatch      bool            `yaml:"require_watch"`
	Topics            []string        `yaml:"topics"`
	MessageBytes      int             `yaml:"message_bytes"`
	Queue             QueueConfig     `yaml:"queue"`
	Watch             WatchConfig     `yaml:"watch"`
	Devices           int             `yaml:"devices"`
	GroupMembers      int             `yaml:"group_members"`
	Rate              RateConfig      `yaml:"rate"`     // of one session
	AppRate           RateConfig      `yaml:"app_rate"` // of all sessions of the app on a node together
	Connections       int             `yaml:"connections"`
	ConnectsPerSecond float64         `yaml:"connects_per_second"`
	Presence          PresenceConfig  `yaml:"presence"`
	History           HistoryConfig   `yaml:"history"`
	Trace             bool            `yaml:"trace"` // keep when each delivery was sent and acknowledged
	Requests          RequestsConfig  `yaml:"requests"`
}

// SignatureConfig says when signatures are asked for and how long they hold (spec 2).
type SignatureConfig struct {
	Required bool          `yaml:"required"`
	Window   time.Duration `yaml:"window"` // how far a timestamp may be from the server's clock, both ways
	Replay   string        `yaml:"replay"` // ReplayWindow or ReplayReject
	Reuse    time.Duration `yaml:"reuse"`  // how long the same client may present the same signed CONNECT; 0: only within Window
}

// The values of SignatureConfig.Replay.
const (
	ReplayWindow = "window"
	ReplayReject = "reject"
)

// QueueConfig bounds what waits for a device (spec 9).
type QueueConfig struct {
	Messages  int           `yaml:"messages"`  // accepted while it is absent
	Age       time.Duration `yaml:"age"`       // also how long a device is remembered
	Connected int           `yaml:"connected"` // already due when its connection ended
}

// WatchConfig bounds watch lists (spec 4).
type WatchConfig struct {
	PerCall    int `yaml:"per_call"`
	PerSession int `yaml:"per_session"`
}

// RateConfig bounds what is sent (spec 12).
type RateConfig struct {
	MessagesPerSecond float64 `yaml:"messages_per_second"` // 0: no bound
	Burst             int     `yaml:"burst"`               // messages at once
	BytesPerSecond    float64 `yaml:"bytes_per_second"`    // of payload; 0: no bound. As many at once, at least message_bytes
}

// RequestsConfig bounds what is asked over REST with one credential.
type RequestsConfig struct {
	PerSecond float64 `yaml:"per_second"` // 0: no bound
	Burst     int     `yaml:"burst"`      // 0: one
}

// DefaultRequests is what one credential may ask over REST unless the settings say otherwise: more than one server's work, less
// than what keeps others from theirs.
func DefaultRequests() RequestsConfig { return RequestsConfig{PerSecond: 1000, Burst: 2000} }

// PresenceConfig smooths presence (spec 4).
type PresenceConfig struct {
	Grace time.Duration `yaml:"grace"` // how long offline is held back after a lost connection
}

// HistoryConfig bounds history (spec 12).
type HistoryConfig struct {
	Age   time.Duration `yaml:"age"`   // 0: for ever
	Bytes int           `yaml:"bytes"` // of all messages together; 0: no bound
}

// DefaultAppConfig returns the defaults of spec 12 for an app without a key.
func DefaultAppConfig(id AppID) AppConfig {
	const day = 24 * time.Hour
	return AppConfig{
		ID:           id,
		Signature:    SignatureConfig{Window: 6 * time.Hour, Replay: ReplayWindow, Reuse: 7 * day},
		RequireWatch: true,
		MessageBytes: 5120,
		Queue:        QueueConfig{Messages: 50, Age: 7 * day, Connected: 10_000},
		Watch:        WatchConfig{PerCall: 100, PerSession: 1000},
		Devices:      20,
		GroupMembers: 2000,
		Rate:         RateConfig{MessagesPerSecond: 100, Burst: 200},
		AppRate:      RateConfig{Burst: 1000},
		Trace:        true,
		Requests:     DefaultRequests(),
	}
}
