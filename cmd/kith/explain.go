package main

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"
)

// explain says in people's words why a session could not be opened, and what to do.
func (c *clientFlags) explain(err error) error {
	connack, ok := errors.AsType[*autopaho.ConnackError](err)
	if !ok {
		if errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("nothing listens on %s: start it with kith serve, or give another --addr", c.addr)
		}
		return fmt.Errorf("connect to %s: %w", c.addr, err)
	}
	reason := connack.Reason
	if reason == "" {
		reason = fmt.Sprintf("reason code 0x%02X", connack.ReasonCode)
	}
	hint := ""
	switch connack.ReasonCode {
	case 0x86:
		hint = fmt.Sprintf("; is --app %s right?", c.key.app)
	case 0x87:
		hint = "; a signed app needs its master key: give --config or --key-file, or set KITH_MASTER_KEY"
	}
	return fmt.Errorf("%s refused the session: %s%s", c.addr, reason, hint)
}

// finalDisconnect returns why a session is over where reconnecting would not help, or nil.
func finalDisconnect(d *paho.Disconnect) error {
	switch d.ReasonCode {
	case 0x8E:
		return errors.New("the same peer and device connected elsewhere; give this one another --device")
	case 0x98:
		return errors.New("an operator ended this session")
	}
	return nil
}

// publishError is why a publish was refused, or nil. A lost connection is err itself.
func publishError(resp *paho.PublishResponse, err error) error {
	if resp == nil || resp.ReasonCode < 0x80 {
		return err
	}
	if resp.Properties != nil && resp.Properties.ReasonString != "" {
		return refusal(resp.Properties.ReasonString)
	}
	return refusal(fmt.Sprintf("refused with reason code 0x%02X", resp.ReasonCode))
}

// refusal is the server's answer to a publish, such as "4401 invalid_target: …".
type refusal string

func (r refusal) Error() string { return string(r) }
