// Package storetest proves that an engine keeps the promises of [broker.Store]. [Run] is the whole suite; each of its
// subtests is named after the promise it checks. An engine's own test calls Run with a [Factory] for an empty store.
//
// The suite knows nothing of an engine: what the contract leaves open (whether a log still lists a message that was
// deleted, how many more events than Keep are there, the numbers of direct conversations) it accepts either way.
package storetest
