package main

import (
	"fmt"
	"testing"

	"kith/api"
)

func TestATokenComesWithItsHash(t *testing.T) {
	t.Parallel()
	made := func() (token string) {
		_, out, _ := kith(t, "", "token")
		var hash string
		if _, err := fmt.Sscanf(out, "token %s\ntoken_hash %s\n", &token, &hash); err != nil || hash != api.HashToken(token) {
			t.Fatalf("%v: %q", err, out)
		}
		return token
	}
	if one, two := made(), made(); one == two || len(one) != 26 {
		t.Errorf("%q, then %q", one, two)
	}
}
