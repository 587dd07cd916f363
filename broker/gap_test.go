package broker

import (
	"slices"
	"testing"
)

func TestGapsAreCountedOnceAndPassed(t *testing.T) {
	at := func(n uint64) Position { return Position{N: n} }
	g := gaps{{10, at(12)}}.with(gaps{{3, at(5)}, {13, at(20)}, {11, at(15)}})
	if want := (gaps{{3, at(5)}, {10, at(20)}}); !slices.Equal(g, want) {
		t.Fatalf("joined to %v, not %v", g, want)
	}
	for _, c := range []struct{ after, to, want uint64 }{{0, 2, 0}, {0, 5, 3}, {3, 10, 3}, {5, 9, 0}, {20, 30, 0}, {0, 30, 14}} {
		if n := g.count(c.after, c.to); n != c.want {
			t.Errorf("%d of the numbers behind %d up to %d lie in gaps, not %d", c.want, c.after, c.to, n)
		}
	}
	for _, c := range []struct{ after, n, want uint64 }{{0, 2, 2}, {0, 3, 6}, {4, 1, 6}, {5, 4, 9}, {5, 5, 21}, {0, 7, 21}, {20, 1, 21}} {
		if to := g.advance(c.after, c.n); to != c.want {
			t.Errorf("%d numbers outside of gaps behind %d lead to %d, not %d", c.n, c.after, c.want, to)
		}
	}
	for n, want := range map[uint64]uint64{2: 0, 3: 5, 5: 5, 6: 0, 10: 20, 20: 20, 21: 0} {
		if to, ok := g.over(n); ok != (want != 0) || to.N != want {
			t.Errorf("over %d: %d, %t", n, to.N, ok)
		}
	}
	if left := g.behind(5); len(left) != 1 || left[0].from != 10 {
		t.Errorf("behind 5: %v", left)
	}
}
