// Package handlers serves the logs to clients: pulls over HTTP and live changes
// over WebSocket. It is written on net/http; mount.go alone binds it to Echo.
//
// One hub a process reads the change log once for each bell and hands what is new
// to the sessions whose topics it touches. A session keeps its own place in the
// feed, so that nothing has to be remembered for it: one that falls behind reads
// the log again.
package handlers
