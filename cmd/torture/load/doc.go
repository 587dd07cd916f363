// Package load is a known load: peers of signed apps who send each other numbered messages, directly and in groups, over
// connections that may be lost at any time, and who remember all that was acknowledged and all that arrived. When everything
// stands again, Check compares the two with each other and with what the server says over REST.
//
// A stream is what one device sends to one peer or group. Its messages are numbered, and carry the number in their payload and,
// as the sender's own id, in their properties, so that a message whose acknowledgement a lost connection took can be sent again
// and must be delivered once. A message that was refused is given up: its number was not accepted.
//
// Promises, and how each is checked:
//
//	acknowledged is kept   each device that a message is due to got it, those that had departed in the end, or a missed event counted it
//	order                  each device got a stream's messages, each when it first came, in the order of their ids; and those that
//	                       one connection had acknowledged in the order of their numbers have their ids in that order
//	once                   no message came twice on one connection or under two ids; history has each acknowledged one once
//	nobody else's          nothing arrived where it was not for, with another content, or in another app
//	presence converges     in the end each watcher's last view of each peer is the truth
//
// A message that comes again on a later connection is no fault: delivery is at least once, and its acknowledgement may have been
// lost. Such are counted as redelivered.
package load
