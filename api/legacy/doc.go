// Package legacy answers the documented REST calls of the service that Kith's users move from, below /1.1, so that their servers need
// a new address and nothing else (spec 11, end). What each call takes and answers is told in docs/migrating.md. It adds no rules: every
// call is one, or a few, of the broker calls that /v1 makes.
//
// # Who may call
//
// X-LC-Id names the app. X-LC-Key is the app key, or the master key with ",master" behind it; X-LC-Sign is
// md5(milliseconds + key) in lower-case hex, the milliseconds, and ",master" for the master key, and holds within the app's
// signature.window. The older spellings X-AVOSCloud-Application-Id, -Application-Key, -Master-Key and -Request-Sign mean the same. The
// app key is in the hands of every client, so it opens only what reads (spec 13). Failed logins count together with those of /v1.
//
// # Answers
//
// A refusal is {"code","error"} with the code of spec 10; where that has none, the HTTP status. Input is read as that service read it:
// parameters and fields that are not known are passed over, a limit over the most is the most.
package legacy
