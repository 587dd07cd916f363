package storetest

import (
	"testing"
	"time"

	"kith/broker"
)

// Factory makes and remakes one store.
type Factory struct {
	// Open opens the store: empty the first time, later with all it held. The suite closes it before it opens it again.
	Open func(t testing.TB) broker.Store
	// Crash loses what is not durable at this moment: what Open opens next is what a crash now would have left. The store
	// that is open goes on and is closed by the suite before Open. Nil if the engine cannot be crashed by a test.
	Crash func(t testing.TB)
	// Now and Advance are the store's clock. If Advance is nil the suite waits for short expiries.
	Now     func() time.Time
	Advance func(d time.Duration)
}

// Run runs the suite. Each subtest gets a factory of its own.
func Run(t *testing.T, newFactory func(t testing.TB) Factory) {
	t.Helper()
	for _, test := range []struct {
		promise string
		check   func(h *harness)
	}{
		{"ids increase in the order of commits", idsIncrease},
		{"a chain is broken by what fails", chainsBreak},
		{"an append is in all its logs", appendIsInAllLogs},
		{"numbers are dense in each log", numbersAreDense},
		{"apps are apart", appsAreApart},
		{"membership changes are not in the sent log", membershipIsNotSent},
		{"membership changes take no number", membershipTakesNoNumber},
		{"a required record decides over an append", requiredRecordDecides},
		{"messages come back as they were", messagesComeBack},
		{"messages come in the order asked", messagesInOrderAsked},
		{"done comes once and in order", doneInOrder},
		{"done may commit when the queue is full", doneMayCommit},
		{"reads see what done told", readsSeeWhatDoneTold},
		{"reads honour their context", readsHonourContext},
		{"ranges are exclusive at every id", rangesAreExclusive},
		{"last is the end of each log", lastIsTheEnd},
		{"once keys make appends idempotent", onceIsIdempotent},
		{"once keys hold within a batch", onceWithinBatch},
		{"once keys outlive a restart and end with their expiry", onceExpires},
		{"writes set and remove records", writesSetAndRemove},
		{"conditions compare and set", conditionsHold},
		{"guarded writes need their guard", guardsHold},
		{"places of appends are written", placesAreWritten},
		{"conditions hold under concurrency", conditionsUnderConcurrency},
		{"records expire", recordsExpire},
		{"a rewritten record keeps its new expiry", rewrittenRecordLives},
		{"lists page by owner and name", listsPage},
		{"lists page over owners", listsPageOverOwners},
		{"a deleted message is gone", deletedMessageIsGone},
		{"an emptied log goes on with its numbers", emptiedLogGoesOn},
		{"events keep the newest", eventsKeepNewest},
		{"the past takes messages where their ids belong", pastTakesItsPlace},
		{"the past takes each message once", pastTakesOnce},
		{"the past takes no number and delivers nothing", pastTakesNoNumber},
		{"a message of the past can be deleted", pastCanBeDeleted},
		{"the past is a message with an id", pastIsChecked},
		{"a trimmed log keeps what is newer", trimmedLogKeepsNewer},
		{"the size of history follows what is there", sizeFollows},
		{"a restart keeps everything", restartKeepsEverything},
		{"a closed store refuses", closedStoreRefuses},
		{"ping answers", pingAnswers},
		{"commits and reads run at once", commitsAndReads},
		{"what is acknowledged survives a crash", acknowledgedSurvives},
		{"lazy batches are durable before later ones", lazyBeforeLater},
		{"numbers are not given again after a crash", numbersAfterCrash},
	} {
		t.Run(test.promise, func(t *testing.T) {
			test.check(start(t, newFactory(t)))
		})
	}
	runModel(t, newFactory)
}
