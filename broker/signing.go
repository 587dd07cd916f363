package broker

import (
	"crypto/rand"
)

// Sign signs an open, a watch or a group action for a client with the app's master key (spec 11). Lists that the request would be
// refused for are not signed.
func (b *Broker) Sign(app AppID, r SignRequest) (Signed, error) {
	cfg, ok := b.App(app)
	if !ok {
		return Signed{}, Errorf(AppNotFound, "this server has no app of that id")
	}
	if _, err := parsePeerList("watch", r.Watch, min(cfg.Watch.PerCall, cfg.Watch.PerSession)); err != nil {
		return Signed{}, err
	}
	if _, err := parsePeerList("peers", r.Peers, cfg.Watch.PerCall); err != nil {
		return Signed{}, err
	}
	out := Signed{Timestamp: b.now().Unix(), Nonce: rand.Text()}
	switch r.Action {
	case "":
		out.Signature = SignOpen(cfg.MasterKey, app, r.Peer, r.Watch, out.Timestamp, out.Nonce, r.Super)
		pw := map[string]any{"timestamp": out.Timestamp, "nonce": out.Nonce, "signature": out.Signature}
		if r.Watch != nil {
			pw["watch"] = r.Watch
		}
		if r.Super {
			pw["super"] = true
		}
		out.Password = string(mustJSON(pw))
	case ActionJoin, ActionInvite, ActionKick:
		out.Signature = SignGroup(cfg.MasterKey, app, r.Peer, r.Group, r.Peers, out.Timestamp, out.Nonce, r.Action)
	default:
		return Signed{}, Errorf(Malformed, "action is join, invite or kick, or absent to sign an open or a watch")
	}
	return out, nil
}
