package load

import (
	"crypto/rand"
	"time"

	"kith/broker"
)

// proof is a signature with what it is over beside the ids (spec 2).
type proof struct {
	Timestamp int64  `json:"timestamp"`
	Nonce     string `json:"nonce"`
	Signature string `json:"signature"`
}

func (a *App) sign(peer broker.PeerID, watch []broker.PeerID) proof {
	p := proof{Timestamp: time.Now().Unix(), Nonce: rand.Text()}
	p.Signature = broker.SignOpen(a.key, a.ID, peer, watch, p.Timestamp, p.Nonce, false)
	return p
}
