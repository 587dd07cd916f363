package configs

import (
	"errors"
	"io"
	"os"
	"regexp"
	"runtime"
	"strings"
)

// maxSecret bounds the file of a secret, in bytes.
const maxSecret = 64 << 10

// secretReference is a secret that stands elsewhere: ${file:/run/secrets/x} or ${env:NAME}.
var secretReference = regexp.MustCompile(`^\$\{(file|env):([^}]*)\}$`)

// parse is the function parse for a value that may, if it is a secret, stand elsewhere. bad never holds the secret.
func (l *loader) parse(o *option, ptr any, text string) (bad string) {
	if m := secretReference.FindStringSubmatch(text); o.secret && m != nil {
		if m[1] == "env" {
			text, bad = l.variable(m[2])
		} else {
			text, bad = secretFile(m[2])
		}
		if bad != "" {
			return bad
		}
	}
	return parse(ptr, text)
}

func (l *loader) variable(name string) (value, bad string) {
	for _, entry := range l.environ {
		if v, ok := strings.CutPrefix(entry, name+"="); ok && name != "" {
			value = v
		}
	}
	if value == "" {
		return "", "the variable " + quote(name) + " is not set"
	}
	return value, ""
}

// secretFile reads a secret, without the line's end.
func secretFile(path string) (value, bad string) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return "", reason(err)
	case !info.Mode().IsRegular():
		return "", quote(path) + " is no file"
	case readableByOthers(path):
		return "", "others can read " + quote(path) + ": chmod 600 it"
	}
	f, err := os.Open(path)
	if err != nil {
		return "", reason(err)
	}
	defer f.Close() //nolint:errcheck // only read
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	switch {
	case err != nil:
		return "", reason(err)
	case len(data) > maxSecret:
		return "", quote(path) + " is too long for a secret"
	}
	if value = strings.TrimRight(string(data), "\r\n"); value == "" {
		return "", quote(path) + " is empty"
	}
	return value, ""
}

// readableByOthers reports whether more than its owner may read a file, where the system knows owners.
func readableByOthers(path string) bool {
	info, err := os.Stat(path)
	return err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0
}

func reason(err error) string {
	if e, ok := errors.AsType[*os.PathError](err); ok {
		return quote(e.Path) + ": " + e.Err.Error()
	}
	return err.Error()
}
