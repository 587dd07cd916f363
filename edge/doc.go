// Package edge is what stands between the network and the two sides of Kith, hooks (MQTT) and api (HTTP): it tells where
// a connection really comes from.
//
// A connection from a trusted proxy begins with a PROXY protocol header, version 2, which names its client. The header is
// required there, since a receiver that guesses would take a client's own word for it wherever a proxy sends none; from
// any other address it is never believed. TLS, WebSocket and HTTP come after it, so that history, status, throttles and
// limits see the client, not the proxy.
//
// Both sides may import this package, which knows neither.
package edge
