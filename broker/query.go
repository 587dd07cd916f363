package broker

// HistoryItem is a message as operators and history requests see it (spec 11).
type HistoryItem struct {
	ID           MessageID      `json:"id"`
	Conversation ConversationID `json:"conversation"`
	From         PeerID         `json:"from"`
	To           []PeerID       `json:"to,omitempty"`
	Group        GroupID        `json:"group,omitempty"`
	TS           int64          `json:"ts"`
	Message      *string        `json:"message,omitempty"` // when the payload is UTF-8
	Data         []byte         `json:"data,omitempty"`    // else, base64
	ContentType  string         `json:"content_type,omitempty"`
	ReceiptAt    int64          `json:"receipt_at,omitempty"`
	FromIP       string         `json:"from_ip,omitempty"`
	Original     string         `json:"original_id,omitempty"` // of what was imported: its id where it came from
}

// HistoryQuery selects messages of an app. At most one of Conversation, From, Peer is set; none: the whole app.
type HistoryQuery struct {
	Conversation ConversationID // a direct conversation or a group
	From         PeerID
	Peer         PeerID // direct messages it sent or received, group messages it sent
	Since, Until int64  // Unix milliseconds, inclusive and exclusive; 0: open
	Cursor       MessageID
	Ascending    bool
	Limit        int
}

// HistoryPage is one page of history. Next, when not zero, is the Cursor of the following page.
type HistoryPage struct {
	Items []HistoryItem
	Next  MessageID
}

// SendRequest is a message from an operator or a "send" request (spec 6, 11).
type SendRequest struct {
	From      PeerID
	To        []PeerID
	Group     GroupID
	Payload   []byte
	Transient bool
	Receipt   bool
	NoSync    bool   // not for the sender's own devices
	SenderID  string // the sender's own id (client_id)
	FromIP    string
}

// SendResult tells what became of a message.
type SendResult struct {
	MessageID    MessageID      `json:"message_id"`
	TS           int64          `json:"ts"`
	Conversation ConversationID `json:"conversation"`
}

// PeerItem is a peer in a list (spec 13).
type PeerItem struct {
	Peer     PeerID `json:"peer"`
	Online   bool   `json:"online"`
	LastSeen int64  `json:"last_seen,omitempty"`
}

// PeersQuery selects known peers in the order of their ids.
type PeersQuery struct {
	Prefix string
	Online *bool  // true: only those online; false: only those not; nil: all
	After  PeerID // the last of the page before
	Limit  int
}

// PeerStatus is what an operator sees of one peer (spec 11).
type PeerStatus struct {
	Peer     PeerID        `json:"peer"`
	Online   bool          `json:"online"`
	LastSeen int64         `json:"last_seen,omitempty"`
	Sessions []SessionInfo `json:"sessions"`
	Groups   []GroupID     `json:"groups"`
	Waiting  int           `json:"waiting"` // messages in the queue of its device that has the most
}

// SessionInfo is one device of a peer: connected, or known and absent.
type SessionInfo struct {
	Device    DeviceID `json:"device"`
	Connected bool     `json:"connected"`
	Node      string   `json:"node,omitempty"`
	Address   string   `json:"address,omitempty"`
	Protocol  string   `json:"protocol,omitempty"` // such as "mqtt 5 tcp"
	Since     int64    `json:"since"`              // Unix milliseconds of its connect, or of its end
	Watch     []PeerID `json:"watch"`
	Waiting   int      `json:"waiting"`
}

// Ban keeps a peer out (spec 11).
type Ban struct {
	Peer   PeerID `json:"peer"`
	Until  int64  `json:"until,omitempty"` // Unix milliseconds; 0: until lifted
	Reason string `json:"reason"`
}

// Signed is what the server signs for a client (spec 13).
type Signed struct {
	Timestamp int64  `json:"timestamp"`
	Nonce     string `json:"nonce"`
	Signature string `json:"signature"`
	Password  string `json:"password,omitempty"` // ready for CONNECT; only for an open
}

// SignRequest asks for a signature: of an open or a watch (Watch), or of a group action (Action).
type SignRequest struct {
	Peer   PeerID
	Watch  []PeerID
	Super  bool
	Group  GroupID
	Peers  []PeerID
	Action string // "", "join", "invite" or "kick"
}

// Stats counts what a node did since it started.
type Stats struct {
	Sessions     int64 // connected now
	PeersOnline  int64
	Accepted     uint64 // persistent messages made durable
	Transient    uint64
	Delivered    uint64 // deliveries written to receivers
	Acknowledged uint64 // deliveries acknowledged by them
	Refused      map[Code]uint64
	Missed       uint64
}
