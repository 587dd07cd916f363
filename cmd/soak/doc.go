// Soak runs a Kith of its own for half an hour at half of what it can take, while clients come and go, groups are made and emptied,
// absent peers get what waited for them, and old messages are removed. It samples memory, goroutines, descriptors, disk and delivery
// times every few seconds, draws them, and judges whether they stay flat:
//
//	go run ./cmd/soak --time 30m --csv soak.csv --svg docs/soak.svg
//
// The load is that of kith bench, in rounds: each opens its connections anew and checks every message. What a server can take is
// measured first: the highest of the rates tried at which 99 of 100 messages arrive within 100 ms. A figure is flat when the line
// through the second half of its samples rises over that time by no more than a tenth of its mean; memory and disk have reached what
// they keep by then. It exits with 1 when a figure is not flat, or a message was lost, duplicated or out of order.
package main
