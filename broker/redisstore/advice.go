package redisstore

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// advise puts what to do before an error of opening. What waiting cannot mend becomes an errSetting.
func advise(cfg Config, err error) error {
	who := "Redis"
	if cfg.MasterName != "" {
		who = "the Sentinels"
	}
	if errors.Is(err, errSetting) {
		return err
	}
	if redis.IsAuthError(err) || strings.Contains(err.Error(), "WRONGPASS") {
		return fmt.Errorf("%w: the password is refused: check store.redis.username and store.redis.password, or those of the Sentinels, sentinel_username and sentinel_password: %w", errSetting, err)
	}
	if redis.IsPermissionError(err) {
		return fmt.Errorf("%w: the user may not do what Kith needs: give it ~%s* &%s* and +@all -@dangerous +info +config|get: %w", errSetting, cfg.Prefix, cfg.Prefix, err)
	}
	if certificate, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fmt.Errorf("%w: the server's certificate is not trusted: name the authority that signed it in store.redis.ca: %w", errSetting, certificate)
	}
	var dns *net.DNSError
	late := errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
	switch {
	case cfg.TLS && late: // a port without TLS waits for the end of what it takes for a command
		return fmt.Errorf("%s does not answer: does that port speak TLS (store.redis.tls)? %w", who, err)
	case errors.Is(err, syscall.ECONNREFUSED), errors.As(err, &dns), late:
		return fmt.Errorf("%s cannot be reached: start it, or correct store.redis.addrs: %w", who, err)
	case !cfg.TLS && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)):
		return fmt.Errorf("%s ends the connection: does it want TLS (store.redis.tls)? %w", who, err)
	case cfg.MasterName != "" && errors.Is(err, redis.Nil):
		return fmt.Errorf("the Sentinels know no master %q: correct store.redis.master_name: %w", cfg.MasterName, err)
	}
	return err
}
