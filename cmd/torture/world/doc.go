// Package world runs what is tormented: kith serve, one process a node, the Redis that nodes share, and between them and to the
// clients a proxy on each way, where the network can be cut and slowed. Everything is on the loopback, on ports of the kernel's
// choice, with its files in one folder.
//
// A node that ends is started again, as an init system would, unless it is held down.
package world
