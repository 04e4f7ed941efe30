package listener

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/lib/pq"
)

const (
	// connectLimit is how long a connection, or a statement of ours, may take.
	connectLimit = 5 * time.Second
	// silence is how long a server may say nothing after we asked. A link that was
	// cut, or a server that hangs, is otherwise noticed after minutes.
	silence = 6 * time.Second
)

// dialer is what lib/pq connects with: the way of the application's own
// connections, TLS included, and a watchdog.
type dialer struct {
	ctx  context.Context // of the connecting
	life context.Context // of the connection
	target
}

var (
	_ pq.Dialer        = dialer{}
	_ pq.DialerContext = dialer{}
)

// Dial implements pq.Dialer.
func (d dialer) Dial(network, address string) (net.Conn, error) {
	return d.DialContext(d.ctx, network, address)
}

// DialTimeout implements pq.Dialer.
func (d dialer) DialTimeout(network, address string, _ time.Duration) (net.Conn, error) {
	return d.DialContext(d.ctx, network, address)
}

// DialContext implements pq.DialerContext. lib/pq brings no context of its own
// for a listener, and an address that the target knows better.
func (d dialer) DialContext(context.Context, string, string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(d.ctx, connectLimit)
	defer cancel()
	raw, err := d.dial(ctx)
	if err != nil {
		return nil, err
	}
	conn := &watchedConn{Conn: raw}
	conn.stop = context.AfterFunc(d.life, func() { _ = raw.Close() })
	if d.tls == nil {
		return conn, nil
	}
	secure, err := startTLS(ctx, conn, d.tls, d.cfg.SSLNegotiation == "direct")
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return secure, nil
}

// dial goes the way that pgx goes: look the name up, try one address after the
// other.
func (t target) dial(ctx context.Context) (net.Conn, error) {
	network, address := pgconn.NetworkAddress(t.host, t.port)
	if network == "unix" || t.cfg.LookupFunc == nil {
		return t.cfg.DialFunc(ctx, network, address)
	}
	found, err := t.cfg.LookupFunc(ctx, t.host)
	if err != nil {
		return nil, err
	}
	errs := []error{fmt.Errorf("connecting to %s", address)}
	for _, a := range found {
		if _, _, err := net.SplitHostPort(a); err != nil {
			a = net.JoinHostPort(a, strconv.Itoa(int(t.port)))
		}
		conn, err := t.cfg.DialFunc(ctx, network, a)
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// sslRequest asks a PostgreSQL server to go on in TLS.
var sslRequest = []byte{0, 0, 0, 8, 4, 210, 22, 47}

// startTLS begins TLS as pgx does, with the application's own configuration.
func startTLS(ctx context.Context, conn net.Conn, cfg *tls.Config, direct bool) (net.Conn, error) {
	if !direct {
		var answer [1]byte
		if _, err := conn.Write(sslRequest); err != nil {
			return nil, err
		}
		if _, err := io.ReadFull(conn, answer[:]); err != nil {
			return nil, err
		}
		if answer[0] != 'S' {
			return nil, errors.New("the server does not speak TLS")
		}
	}
	secure := tls.Client(conn, cfg)
	return secure, secure.HandshakeContext(ctx)
}

// watchedConn is the watchdog: whoever reads hears something in time, or the
// connection is over. Somebody must see to it that the server has something to
// say; see session.ping.
type watchedConn struct {
	net.Conn
	stop func() bool
}

// Read implements net.Conn.
func (c *watchedConn) Read(b []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(silence)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("the server has said nothing for %v: %w", silence, err)
	}
	return n, err
}

// Write implements net.Conn.
func (c *watchedConn) Write(b []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(silence)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

// Close implements net.Conn.
func (c *watchedConn) Close() error {
	c.stop()
	return c.Conn.Close()
}
