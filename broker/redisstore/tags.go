package redisstore

import "strconv"

// slots is how many parts a Redis Cluster has; a hash tag belongs to one of them.
const slots = 16384

// shardTags returns n hash tags that are spread evenly over the slots, the same for the same n: tag i is the least number whose
// slot lies in the i-th of n equal stretches, so that masters with equal stretches of slots get equally many shards.
func shardTags(n int) []string {
	tags := make([]string, n)
	for left, i := n, 0; left > 0; i++ {
		tag := strconv.Itoa(i)
		if at := slotOf(tag) * n / slots; tags[at] == "" {
			tags[at] = tag
			left--
		}
	}
	return tags
}

// slotOf is CRC-16/XMODEM of a tag, as Redis Cluster has it.
func slotOf(tag string) int {
	crc := uint16(0)
	for i := range len(tag) {
		crc ^= uint16(tag[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return int(crc % slots)
}
