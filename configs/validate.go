package configs

import (
	"fmt"
	"slices"
	"strings"

	"kith/api"
	"kith/broker"
)

// Validate checks every value and how they fit each other, and returns all problems.
func (c *Config) Validate() Problems {
	v := &validation{}
	for _, f := range c.fields() {
		if f.option.check != nil {
			v.add(f.path, f.option.check(f.value))
		}
	}
	v.listen(&c.Listen)
	v.store(&c.Store)
	v.apps(c)
	v.operators(c)
	return v.problems
}

// Warnings are what may be meant so, but is worth a second look.
func (c *Config) Warnings() Problems {
	v := &validation{}
	for i, a := range c.Apps {
		path := fmt.Sprintf("apps[%d].", i)
		if !a.Signature.Required && !c.onLoopback() {
			v.add(path+"signature.required", fmt.Sprintf("app %s takes unsigned sessions, and a listener is open to other machines: anyone who reaches it can be any peer", a.ID))
		}
		if n := len(a.MasterKey); n < 16 {
			v.add(path+"master_key", fmt.Sprintf("is only %d bytes long; make one with: openssl rand -hex 24", n))
		}
	}
	if c.Listen.TLS.ClientPeer != "" && c.Listen.MQTT != "" && !loopback(c.Listen.MQTT) {
		v.add("listen.tls.client_peer", "clients of listen.mqtt show no certificate, and so can be any peer")
	}
	if key := c.Listen.TLS.Key; key != "" && readableByOthers(key) {
		v.add("listen.tls.key", "others can read the file: chmod 600 "+key)
	}
	if len(c.Apps) == 0 && c.Demo && !c.onLoopback() {
		v.add("listen", fmt.Sprintf("app %s takes unsigned sessions, and a listener is open to other machines: anyone who reaches it can be any peer", DemoApp))
	}
	if c.ExposedFile != "" {
		v.add("", "others can read "+quote(c.ExposedFile)+", which holds secrets: chmod 600 it, or write ${file:…} or ${env:…} in their place")
	}
	if c.Store.Engine == EnginePebble && !c.Store.Pebble.Sync {
		v.add("store.sync", "acknowledged messages can be lost in a power cut")
	}
	return v.problems
}

// onLoopback reports whether no listener is open to other machines.
func (c *Config) onLoopback() bool {
	for _, addr := range []string{c.Listen.MQTT, c.Listen.MQTTS, c.Listen.HTTP} {
		if addr != "" && !loopback(addr) {
			return false
		}
	}
	return true
}

type validation struct{ problems Problems }

func (v *validation) add(key, text string) {
	if text != "" {
		v.problems = append(v.problems, Problem{Key: key, Text: text})
	}
}

func (v *validation) listen(l *ListenConfig) {
	if l.MQTT == "" && l.MQTTS == "" && l.HTTP == "" {
		v.add("listen", "all listeners are off")
	}
	seen := map[string]string{}
	for _, at := range []struct{ key, addr string }{{"listen.mqtt", l.MQTT}, {"listen.mqtts", l.MQTTS}, {"listen.http", l.HTTP}} {
		if at.addr == "" || strings.HasSuffix(at.addr, ":0") {
			continue
		}
		if other, twice := seen[at.addr]; twice {
			v.add(at.key, "is the address of "+other+" too")
		}
		seen[at.addr] = at.key
	}
	v.tls(l)
}

func (v *validation) tls(l *ListenConfig) {
	switch t := l.TLS; {
	case t.Cert == "" && t.Key == "":
		if l.MQTTS != "" {
			v.add("listen.mqtts", "needs listen.tls.cert and listen.tls.key")
		}
		if t.ClientPeer != "" {
			v.add("listen.tls.client_peer", "needs listen.tls.client_ca")
		}
		if t.ClientCA != "" {
			v.add("listen.tls.client_ca", "needs listen.tls.cert and listen.tls.key")
		}
	case t.Cert == "":
		v.add("listen.tls.cert", "missing: listen.tls.key has no certificate")
	case t.Key == "":
		v.add("listen.tls.key", "missing: listen.tls.cert has no private key")
	case t.ClientPeer != "" && t.ClientCA == "":
		v.add("listen.tls.client_peer", "needs listen.tls.client_ca")
	default:
		if _, err := t.Load(); err != nil {
			key, text, named := strings.Cut(err.Error(), ": ") // hooks names the key at fault
			if !named {
				key, text = "listen.tls", err.Error()
			}
			v.add(key, text)
		}
	}
}

func (v *validation) store(s *StoreConfig) {
	if s.Engine != EngineRedis {
		return
	}
	if len(s.Redis.Addrs) == 0 {
		v.add("store.redis.addrs", "is empty: name at least one host:port")
	}
	if s.Redis.CA != "" && !s.Redis.TLS {
		v.add("store.redis.ca", "needs store.redis.tls")
	}
	for _, addr := range s.Redis.Addrs {
		v.add("store.redis.addrs", address(&addr))
	}
}

func (v *validation) apps(c *Config) {
	if len(c.Apps) == 0 && !c.Demo {
		v.add("apps", "none: add at least one app with an id and a master_key")
	}
	for i, a := range c.Apps {
		path := fmt.Sprintf("apps[%d].", i)
		if first := slices.IndexFunc(c.Apps, func(other broker.AppConfig) bool { return other.ID == a.ID }); first < i && a.ID != "" {
			v.add(path+"id", fmt.Sprintf("%s is the id of apps[%d] too", a.ID, first))
		}
		if a.AppKey != "" && (a.AppKey == a.MasterKey || a.AppKey == a.PreviousMasterKey) {
			v.add(path+"app_key", "is a master key: clients hold the app key, so it must be another")
		}
		if a.Watch.PerSession < a.Watch.PerCall {
			v.add(path+"watch.per_session", "is less than watch.per_call")
		}
	}
}

func (v *validation) operators(c *Config) {
	all := c.API.Operators
	for i, o := range all {
		path := fmt.Sprintf("operators[%d].", i)
		if slices.ContainsFunc(all[:i], func(e api.Operator) bool { return e.Name == o.Name && o.Name != "" }) {
			v.add(path+"name", o.Name+" is used twice")
		}
		if slices.ContainsFunc(all[:i], func(e api.Operator) bool { return e.Token == o.Token && o.Token != "" && o.Token != Placeholder }) {
			v.add(path+"token", "is another operator's too")
		}
		switch {
		case o.Token == "" && o.TokenHash == "":
			v.add(path+"token", "missing: make one with: kith token")
		case o.Token != "" && o.TokenHash != "":
			v.add(path+"token_hash", "stands beside a token; keep one of them")
		}
		if len(o.Apps) == 0 {
			v.add(path+"apps", `is empty: name the apps, or "*" for all`)
		}
		for _, id := range o.Apps {
			if id != api.AllApps && !slices.ContainsFunc(c.Apps, func(a broker.AppConfig) bool { return string(a.ID) == id }) {
				v.add(path+"apps", quote(id)+" is not the id of an app here")
			}
		}
	}
}
