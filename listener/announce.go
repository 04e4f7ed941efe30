package listener

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/lib/pq"
)

const (
	// spacing is the time from one NOTIFY to the next, at least: one says as much
	// as fifty, and each wakes every listener of the database.
	spacing = 20 * time.Millisecond
	// lastWords is how long the NOTIFY of the last commits may take at the end, the
	// one included that is on its way.
	lastWords = time.Second
)

// announce tells other processes of commits: of the first at once, of what comes
// in the next moments together. Its connection outlives ctx by lastWords at most,
// and is cut then: a server that says nothing must not hold up the end.
func (l *Listener) announce(ctx context.Context) {
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	defer context.AfterFunc(ctx, func() {
		if pause(life, lastWords) {
			end()
		}
	})()
	out := sql.OpenDB(&outlet{l, life})
	out.SetMaxOpenConns(1)
	defer func() {
		if err := out.Close(); err != nil {
			l.Failed(fmt.Errorf("closing the announcing connection: %w", err))
		}
	}()
	for {
		select {
		case <-ctx.Done():
			l.sayLast(life, out)
			return
		case <-l.commits:
		}
		began := time.Now()
		err := l.say(life, out)
		if ctx.Err() != nil {
			if err != nil { // it may not have been sent
				signal(l.commits)
			}
			continue
		}
		wait := spacing
		if err != nil {
			wait = minWait
			l.mute(err)
		}
		pause(ctx, wait-time.Since(began))
	}
}

// sayLast announces what was committed shortly before the end.
func (l *Listener) sayLast(life context.Context, out *sql.DB) {
	select {
	case <-l.commits:
		l.Failed(l.say(life, out))
	default:
	}
}

// say sends one NOTIFY: on the connection that is there, or a new one if that was
// lost, or through the application's pool if nobody knows where to connect.
func (l *Listener) say(life context.Context, out *sql.DB) error {
	err := l.notify(life, out, l.id)
	if err != nil && life.Err() == nil && !hopeless(err) {
		err = l.notify(life, out, l.id)
	}
	if hopeless(err) {
		return l.notifyByPool(life, l.id)
	}
	return err
}

// hopeless reports whether only another configuration lets us connect.
func hopeless(err error) bool {
	return errors.Is(err, errNoAddress) || errors.Is(err, errPromise) || errors.Is(err, errRefused)
}

func (l *Listener) notifyByPool(ctx context.Context, payload string) error {
	return l.notify(ctx, l.cfg.DB, payload)
}

// notify has no arguments, so that no driver prepares it: transaction poolers
// lose prepared statements.
func (l *Listener) notify(ctx context.Context, db *sql.DB, payload string) error {
	ctx, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	_, err := db.ExecContext(ctx, "NOTIFY "+pq.QuoteIdentifier(l.cfg.Channel)+", "+pq.QuoteLiteral(payload))
	return err
}

// outlet makes the connections that NOTIFY is sent on: apart from the
// application's pool, where it would wait behind those whose commits it announces.
type outlet struct {
	l    *Listener
	life context.Context // of the connections
}

var _ driver.Connector = (*outlet)(nil)

// Connect implements driver.Connector.
func (o *outlet) Connect(ctx context.Context) (driver.Conn, error) {
	targets, err := o.l.targets(ctx)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, t := range targets {
		conn, err := o.connect(ctx, t)
		if o.l.refused(err) {
			conn, err = o.connect(ctx, t)
		}
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func (o *outlet) connect(ctx context.Context, t target) (driver.Conn, error) {
	dsn, err := o.l.dsn(t)
	if err != nil {
		return nil, err
	}
	c, err := pq.NewConnector(dsn)
	if err != nil {
		return nil, err
	}
	c.Dialer(dialer{ctx, o.life, t})
	return c.Connect(ctx)
}

// Driver implements driver.Connector.
func (o *outlet) Driver() driver.Driver { return &pq.Driver{} }
