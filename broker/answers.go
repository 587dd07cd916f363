package broker

import "sync/atomic"

// answerBytes is how many bytes of payload weigh as much as an answer.
const answerBytes = 512

// answers are acknowledgements, replies and connection events in order. Their weight, which may be read without the session's lock, is
// how many there are and one more for each answerBytes of their payloads: a page of history is as long as thousands of others.
type answers struct {
	queue  fifo[Out]
	weight atomic.Int64
}

func weightOf(next *Out) int64 { return 1 + int64(len(next.Payload)/answerBytes) }

func (a *answers) len() int { return a.queue.len() }

func (a *answers) push(next Out) {
	a.weight.Add(weightOf(&next))
	a.queue.push(next)
}

// pushFirst puts next before all others.
func (a *answers) pushFirst(next Out) {
	a.push(next)
	all := a.queue.all()
	copy(all[1:], all)
	all[0] = next
}

// pop takes the first one.
func (a *answers) pop() Out {
	next := *a.queue.at(0)
	a.queue.drop(1)
	a.weight.Add(-weightOf(&next))
	return next
}
