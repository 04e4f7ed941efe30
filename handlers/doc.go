// Package handlers serves the logs to clients: pulls over HTTP and live changes
// over WebSocket. It is written on net/http; mount.go alone binds it to Echo.
//
// One hub a process reads the change log once for each bell, encodes what is new
// once and puts it into a ring:
//
//	bell ──► hub ──► ring of encoded entries ◄── session: a place in the ring,
//	                   │ links by topic               one frame on its way
//	                   ▼
//	                 wakes the sessions of the topics it touched
//
// A session is a place, not a queue. A slow one gets larger frames; one that the
// ring has gone on without reads the log, page by page, and rejoins. So nobody
// waits for anybody, nothing is dropped, and memory has a bound. WebSockets
// (socket.go) and server-sent events (events.go) are two ways to hand frames over.
package handlers
