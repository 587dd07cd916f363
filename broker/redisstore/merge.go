package redisstore

import "slices"

// part is what was read of one shard's share of an ordered whole.
type part[T any] struct {
	got  []T
	more bool // there may be more behind got
}

// merged reads the first limit of what many shards hold together. It asks each for its share, and again those whose share
// ran out before the rest was reached. fetch gets, for each shard, how many to read behind the last of got, 0 for none.
func merged[T any](shards, limit int, compare func(a, b T) int, fetch func(parts []part[T], counts []int) error) ([]T, error) {
	parts := make([]part[T], shards)
	counts := make([]int, shards)
	for i := range parts {
		counts[i] = limit
		if shards > 1 {
			counts[i] = min(limit, limit/shards*2+8)
		}
	}
	for {
		had := make([]int, shards)
		for i := range parts {
			had[i] = len(parts[i].got)
		}
		if err := fetch(parts, counts); err != nil {
			return nil, err
		}
		var all []T
		for i := range parts {
			if counts[i] > 0 {
				parts[i].more = len(parts[i].got)-had[i] >= counts[i]
			}
			all = append(all, parts[i].got...)
		}
		slices.SortFunc(all, compare)
		all = all[:min(limit, len(all))]
		short := false
		for i := range parts {
			counts[i] = 0
			p := &parts[i]
			if !p.more {
				continue
			}
			// What it did not yet tell may belong among the first.
			if len(all) < limit || compare(p.got[len(p.got)-1], all[limit-1]) < 0 {
				counts[i], short = limit, true
			}
		}
		if !short {
			return all, nil
		}
	}
}
