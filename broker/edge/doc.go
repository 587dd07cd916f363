// Package edge is what stands between the network and the two sides of Kith, hooks (MQTT) and api (HTTP): it tells where
// a connection really comes from, and keeps strangers from taking more than their share.
//
// A connection from a trusted proxy begins with a PROXY protocol header, version 2, which names its client. The header is
// required there, since a receiver that guesses would take a client's own word for it wherever a proxy sends none; from
// any other address it is never believed. TLS, WebSocket and HTTP come after it, so that history, status, throttles and
// limits see the client, not the proxy.
//
// A Listener counts connections on the node and by their client's address, an IPv4 address or an IPv6 /64. What is over a limit is
// first told so, in the answer to its CONNECT, and cut unheard when it is far over. A Guard also bounds how fast an address may
// connect, bans for a while one that presents wrong signatures, and refuses new work while memory is short. All that it remembers
// is bounded.
//
// Both sides may import this package, which knows neither.
package edge
