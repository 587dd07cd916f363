package legacy

import (
	"crypto/md5" //nolint:gosec // X-LC-Sign is fixed by spec 11
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"kith/broker"
	"kith/broker/edge"
)

// caller is who makes a call: who has the app key, or the app's own server with the master key.
type caller struct {
	app    broker.AppID
	master bool
	addr   netip.Addr
}

const (
	masterMark = "master"
	sayWho     = "say X-LC-Id, and X-LC-Key or X-LC-Sign"
	// One sentence for every reason, so that nobody learns which apps there are.
	wrongKey = "Unauthorized: X-LC-Id and the key do not fit, or X-LC-Sign is not within the app's signature.window"
)

// header returns the first of several spellings of a header that a request has.
func header(r *http.Request, names ...string) string {
	for _, name := range names {
		if v := strings.TrimSpace(r.Header.Get(name)); v != "" {
			return v
		}
	}
	return ""
}

// authenticate finds out who makes a call.
func (a *calls) authenticate(r *http.Request) (caller, error) {
	c := caller{addr: edge.ParseAddr(r.RemoteAddr), app: broker.AppID(header(r, "X-LC-Id", "X-AVOSCloud-Application-Id"))}
	if wait := a.Wait(c.addr); wait > 0 {
		return c, a.tooMany("too many failed logins from this address", wait)
	}
	var ok bool
	key, sign := header(r, "X-LC-Key", "X-AVOSCloud-Application-Key"), header(r, "X-LC-Sign", "X-AVOSCloud-Request-Sign")
	if older := header(r, "X-AVOSCloud-Master-Key"); older != "" && key == "" {
		key = older + "," + masterMark
	}
	switch {
	case c.app == "" || key == "" && sign == "":
		return c, broker.Errorf(broker.Unauthorized, sayWho)
	case key != "":
		c.master, ok = a.checkKey(c.app, key)
	default:
		c.master, ok = a.checkSign(c.app, sign)
	}
	if !ok {
		a.Failed(c.addr)
		return c, broker.Errorf(broker.Unauthorized, wrongKey)
	}
	return c, nil
}

// checkKey takes an app key, or a master key with its mark.
func (a *calls) checkKey(app broker.AppID, key string) (master, ok bool) {
	if k, found := strings.CutSuffix(key, ","+masterMark); found {
		return true, a.Broker.CheckMasterKey(app, strings.TrimSpace(k))
	}
	return false, a.Broker.CheckAppKey(app, key)
}

// checkSign takes md5(ms+key),ms[,master]. It compares in constant time, for an unknown app too.
func (a *calls) checkSign(app broker.AppID, sign string) (master, ok bool) {
	sum, rest, _ := strings.Cut(sign, ",")
	ms, mark, marked := strings.Cut(rest, ",")
	sum, ms, master = strings.TrimSpace(sum), strings.TrimSpace(ms), strings.TrimSpace(mark) == masterMark
	at, valid := parseMillis(ms)
	if !valid || marked != master {
		return false, false
	}
	cfg, _ := a.Broker.App(app)
	keys := []string{cfg.AppKey}
	if master {
		keys = []string{cfg.MasterKey, cfg.PreviousMasterKey}
	}
	matches := 0
	for _, key := range keys {
		matches |= subtle.ConstantTimeCompare([]byte(requestSign(ms, key)), []byte(sum)) & notEmpty(key)
	}
	fresh := a.Now().Sub(time.UnixMilli(at)).Abs() <= cfg.Signature.Window
	return master, fresh && matches == 1
}

// Sign returns an X-LC-Sign of a master key, for those who call such a server. It holds for some time around at.
func Sign(masterKey string, at time.Time) string {
	ms := strconv.FormatInt(at.UnixMilli(), 10)
	return requestSign(ms, masterKey) + "," + ms + "," + masterMark
}

// requestSign is the first part of X-LC-Sign.
func requestSign(ms, key string) string {
	sum := md5.Sum([]byte(ms + key)) //nolint:gosec // as above
	return hex.EncodeToString(sum[:])
}

// notEmpty is 1 for a key that opens something: an app may have neither an app key nor a previous master key.
func notEmpty(key string) int {
	if key == "" {
		return 0
	}
	return 1
}

// maxMillis is beyond any time that a message can have; below it nothing overflows.
const maxMillis = 1 << 47

// parseMillis takes Unix milliseconds, decimal, from 1.
func parseMillis(s string) (int64, bool) {
	ms, err := strconv.ParseInt(s, 10, 64)
	return ms, err == nil && ms > 0 && ms < maxMillis && strconv.FormatInt(ms, 10) == s
}

// mustBeMaster refuses who has only the app key.
func (c *caller) mustBeMaster() error {
	if !c.master {
		return broker.Errorf(broker.Forbidden, "the app key does not open this; say the master key, as X-LC-Key: {key},master")
	}
	return nil
}
