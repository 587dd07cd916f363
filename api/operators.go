package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"slices"

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
		known = append(known, knownOperator{o.Name, sha256.Sum256([]byte(o.Token)), o.Role, slices.Clone(o.Apps), o.Requests})
	}
	return known
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
