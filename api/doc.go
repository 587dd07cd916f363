// Package api is Kith over HTTP (spec 11): history, sending, peers, groups, bans and signatures under /v1, health, metrics, the
// OpenAPI document, and the place where MQTT over WebSocket is mounted.
//
// # Who may call
//
// An app's own servers say "Authorization: Basic app_id:master_key" and may do everything within that app. Operators say
// "Authorization: Bearer token" and may do what their role allows ([RoleViewer], [RoleOperator], [RoleAdmin]) in the apps they
// are given. Whether an app exists is told only to those who may see it: to others every app looks alike.
//
// # Answers
//
// Every answer is JSON, but exports (NDJSON), live events, backups, metrics and the page at /docs. Every refusal is an RFC 9457 problem, [Problem], with the code of spec 10; problem.go holds
// the one table from codes to HTTP statuses. Input is strict: what is not understood is refused with 4114 and status
// 400, whether it does not parse, is of the wrong type or is not known: an unknown field, an unknown, empty or repeated
// query parameter. What is understood but over a setting is 4113 with status 422.
//
// Lists are pages of {"items", "next"}. The cursor names the last item seen and not a position, so that pages
// neither skip nor repeat what was there when the first was read, however much is added meanwhile.
//
// # Order
//
// A request passes: the router, throttling and authentication, then its query and body are parsed, then the broker is
// asked. So nobody who may not call learns anything from an error about the input.
package api
