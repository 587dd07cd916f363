// Package pull fetches history from a server that speaks the original service's calls: kith pull.
//
// It reads backward from the newest record: each page begins at the last record of the one before, named by its time and id, so
// records of one millisecond are neither skipped nor repeated, and records that are added meanwhile do not move the rest. It ends at
// a page that is empty; a short page ends nothing.
//
// Each record goes into the file as it came, on a line of its own. After each page the file is synced, and then the state, which says
// how far the file is good and where the next page begins, is replaced as a whole. So whatever ends a pull, the same call goes on
// from there: what the file has beyond the state is cut off and fetched again.
//
// What passes (no answer, 429, 5xx) is tried again, slower each time and not before the server allows it, until nothing came for as
// long as the caller gives it. What does not pass (a wrong key) ends the pull at once.
package pull
