package load

import (
	"fmt"

	"kith/broker"
)

// wrongViews are the watchers that see something else than the truth.
func (l *Load) wrongViews() (wrong []string) {
	for _, a := range l.apps {
		online := map[broker.PeerID]string{}
		for _, d := range a.devices {
			if online[d.peer] != "online" {
				online[d.peer] = map[bool]string{true: "online", false: "offline"}[d.connected()]
			}
		}
		for _, d := range a.devices {
			wrong = append(wrong, d.wrongViews(online)...)
		}
	}
	return wrong
}

func (d *Device) wrongViews(truth map[broker.PeerID]string) (wrong []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn == nil {
		return nil
	}
	for _, peer := range d.app.watched[d.peer] {
		if d.view[peer] != truth[peer] {
			wrong = append(wrong, fmt.Sprintf("%s sees %s %q, which is %s", d, peer, d.view[peer], truth[peer]))
		}
	}
	return wrong
}
