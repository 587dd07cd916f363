// Torture starts Kith for real, lets signed peers send each other numbered messages, and meanwhile torments everything: nodes are
// killed and stopped, Redis too, clocks jump, networks are cut and slowed, disks are full, clients misbehave. Then it heals all, and
// counts what was promised against what came:
//
//	go run ./cmd/torture --engine pebble --time 60s
//	go run ./cmd/torture --engine redis --nodes 2 --time 100s --seed 7
//
// It prints its seed, each fault with its time, and at the end a table and one JSON object, and exits with 1 on a promise that was
// not kept; then it keeps the folder with the logs. The same seed lays out the same load and the same list of faults; what they
// hit depends on the machine.
//
// Clocks jump where kith is built with -tags clockjump, which is how torture builds it itself: ordinary builds have the machine's clock.
//
// Package load has the peers and the promises, package world the processes.
package main
