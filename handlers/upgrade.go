package handlers

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gorilla/websocket"
)

var (
	errNotUpgrade = &apiError{status: http.StatusUpgradeRequired, Code: "bad_request", Message: "This is a WebSocket; connect with ws:// or wss://."}
	errOrigin     = &apiError{status: http.StatusForbidden, Code: "forbidden", Message: "This origin may not connect; name it in Config.AllowedOrigins."}
	errEnded      = &apiError{status: http.StatusServiceUnavailable, Code: "busy", Message: "The server restarts; come back in a moment."}
	errNoHijack   = &apiError{status: http.StatusInternalServerError, Code: "internal", Message: "A WebSocket needs HTTP/1.1 and a middleware that lets go of the connection; skip Timeout for this route."}
)

// sameOrigin: browsers send cookies with a WebSocket from any site, so only
// pages of this host may connect, and those of AllowedOrigins.
func (h *Handlers) sameOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || slices.Contains(h.cfg.AllowedOrigins, origin) {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, r.Host)
}

// upgradable refuses what no WebSocket can come of, while it can be said over HTTP.
func (h *Handlers) upgradable(r *http.Request) error {
	if !websocket.IsWebSocketUpgrade(r) || r.Header.Get("Sec-Websocket-Version") != "13" || r.Header.Get("Sec-Websocket-Key") == "" {
		return errNotUpgrade
	}
	if !h.sameOrigin(r) {
		return errOrigin
	}
	return nil
}

// takeOver takes the connection out of the hands of net/http and of the
// application's middleware, which then let go of all they hold for a request.
func takeOver(w http.ResponseWriter) (net.Conn, error) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, errNoHijack
	}
	if rw.Reader.Buffered() > 0 {
		return nil, errors.Join(errors.New("gormsync: the client sent data before the handshake was complete"), conn.Close())
	}
	return conn, nil
}

// handshake is what of a request the upgrade needs.
func handshake(r *http.Request) *http.Request {
	out := &http.Request{Method: r.Method, URL: r.URL, Host: r.Host, RemoteAddr: r.RemoteAddr, Header: http.Header{}}
	for _, name := range []string{"Connection", "Upgrade", "Sec-Websocket-Version", "Sec-Websocket-Key"} {
		out.Header[name] = r.Header[name]
	}
	return out
}

// taken is a connection that was taken over, as the upgrade wants to have it.
type taken struct {
	conn   net.Conn
	header http.Header
}

// Header implements http.ResponseWriter.
func (t *taken) Header() http.Header { return t.header }

// Write implements http.ResponseWriter. There is no HTTP to answer with any more.
func (t *taken) Write(b []byte) (int, error) { return len(b), nil }

// WriteHeader implements http.ResponseWriter.
func (t *taken) WriteHeader(int) {}

// Hijack implements http.Hijacker. The buffers are as small as they may be; the
// WebSocket has its own.
func (t *taken) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return t.conn, bufio.NewReadWriter(bufio.NewReaderSize(t.conn, 16), bufio.NewWriterSize(t.conn, 512)), nil
}
