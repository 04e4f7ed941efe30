package bench

import (
	"context"
	"database/sql"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
)

// delayed puts a network before a database: a proxy that holds each message back
// for half a round trip. It gives the URL to use instead.
func delayed(b *testing.B, rawURL string, rtt time.Duration) string {
	b.Helper()
	u, err := url.Parse(rawURL)
	require.NoError(b, err)
	server := u.Host
	proxy, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			client, err := proxy.Accept()
			if err != nil {
				return
			}
			upstream, err := net.Dial("tcp", server)
			if err != nil {
				_ = client.Close()
				continue
			}
			all.Go(func() { hold(upstream, client, rtt/2) })
			all.Go(func() { hold(client, upstream, rtt/2) })
		}
	})
	b.Cleanup(func() {
		require.NoError(b, proxy.Close())
		all.Wait()
	})
	u.Host = proxy.Addr().String()
	return u.String()
}

// hold passes bytes on a while after they came.
func hold(to io.WriteCloser, from io.ReadCloser, delay time.Duration) {
	defer func() { _, _ = to.Close(), from.Close() }()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			<-time.After(delay)
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// counting counts what is sent to the database: statements, BEGIN and COMMIT.
type counting struct {
	gorm.ConnPool
	n *atomic.Int64
}

// countStatements puts a counter under all that db does. Before db.Use, it counts
// what gormsync does as well.
func countStatements(db *gorm.DB) *atomic.Int64 {
	c := &countingPool{counting{db.ConnPool, &atomic.Int64{}}}
	db.ConnPool, db.Statement.ConnPool = c, c
	return c.n
}

func (c *counting) ExecContext(ctx context.Context, q string, args ...any) (sql.Result, error) {
	c.n.Add(1)
	return c.ConnPool.ExecContext(ctx, q, args...)
}

func (c *counting) QueryContext(ctx context.Context, q string, args ...any) (*sql.Rows, error) {
	c.n.Add(1)
	return c.ConnPool.QueryContext(ctx, q, args...)
}

func (c *counting) QueryRowContext(ctx context.Context, q string, args ...any) *sql.Row {
	c.n.Add(1)
	return c.ConnPool.QueryRowContext(ctx, q, args...)
}

type countingPool struct{ counting }

func (c *countingPool) GetDBConn() (*sql.DB, error) { return c.ConnPool.(*sql.DB), nil }

func (c *countingPool) BeginTx(ctx context.Context, opts *sql.TxOptions) (gorm.ConnPool, error) {
	c.n.Add(1)
	tx, err := c.ConnPool.(gorm.TxBeginner).BeginTx(ctx, opts)
	if err != nil {
		return nil, err
	}
	return &countingTx{counting{tx, c.n}, tx}, nil
}

type countingTx struct {
	counting
	tx *sql.Tx
}

func (c *countingTx) Commit() error {
	c.n.Add(1)
	return c.tx.Commit()
}

func (c *countingTx) Rollback() error { return c.tx.Rollback() }

func (c *countingTx) StmtContext(ctx context.Context, s *sql.Stmt) *sql.Stmt {
	return c.tx.StmtContext(ctx, s)
}
