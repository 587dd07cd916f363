package main

import (
	"crypto/tls"
	"net/http"

	"kith/hooks"
)

// webTLS is the TLS side of the HTTP port: its configuration, nil for plain HTTP, and the mount of MQTT over WebSocket.
// A client_ca is for MQTT clients. REST has keys of its own, so HTTPS only takes a client certificate where one is
// offered; MQTT over WebSocket on the same port insists on it, or it would be a way around listen.mqtts.
func webTLS(all *hooks.Certificates, clientCA bool, mqtt http.Handler) (*tls.Config, http.Handler) {
	if all == nil {
		return nil, mqtt
	}
	config := all.Config(func(c *tls.Config) {
		c.NextProtos = []string{"h2", "http/1.1"}
		if clientCA {
			c.ClientAuth = tls.VerifyClientCertIfGiven
		}
	})
	if !clientCA {
		return config, mqtt
	}
	return config, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
			http.Error(w, "MQTT clients need a certificate here", http.StatusForbidden)
			return
		}
		mqtt.ServeHTTP(w, r)
	})
}
