package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"slices"
	"strings"

	"kith/broker"
)

// operators are the operators of one configuration, with digests of their tokens. They are never changed, only replaced.
type operators []knownOperator

type knownOperator struct {
	name   string
	digest [sha256.Size]byte
	role   Role
	apps   []string

	requests broker.RequestsConfig
}

func newOperators(configured []Operator) operators {
	known := make(operators, 0, len(configured))
	for _, o := range configured {
		digest := sha256.Sum256([]byte(o.Token))
		if o.Token == "" {
			var err error
			if digest, err = ParseTokenHash(o.TokenHash); err != nil {
				continue // opens nothing
			}
		}
		known = append(known, knownOperator{o.Name, digest, o.Role, slices.Clone(o.Apps), o.Requests})
	}
	return known
}

const hashPrefix = "sha256:"

// HashToken returns the form of a token that settings may hold in its place.
func HashToken(token string) string {
	digest := sha256.Sum256([]byte(token))
	return hashPrefix + hex.EncodeToString(digest[:])
}

// ParseTokenHash returns the digest that HashToken wrote.
func ParseTokenHash(s string) (digest [sha256.Size]byte, err error) {
	text, ok := strings.CutPrefix(s, hashPrefix)
	b, bad := hex.DecodeString(text)
	if !ok || bad != nil || len(b) != len(digest) {
		return digest, errors.New("is not sha256: and 64 hex digits; make one with: kith token")
	}
	return [sha256.Size]byte(b), nil
}

// find returns the operator with this token. It compares with all of them, in the same time whether or not one matches.
func (os operators) find(token string) (knownOperator, bool) {
	digest := sha256.Sum256([]byte(token))
	found := -1
	for i := range os {
		if subtle.ConstantTimeCompare(digest[:], os[i].digest[:]) == 1 {
			found = i
		}
	}
	if found < 0 {
		return knownOperator{}, false
	}
	return os[found], true
}

// sees reports whether the operator is given app, whether or not that exists.
func (o *knownOperator) sees(app broker.AppID) bool {
	return o.seesAll() || slices.Contains(o.apps, string(app))
}

func (o *knownOperator) seesAll() bool { return slices.Contains(o.apps, AllApps) }
