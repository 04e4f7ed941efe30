package doctor

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/rhtmx/gormsync/listener"
)

// bellsLimit is how long it may take to find out whether bells arrive.
const bellsLimit = 20 * time.Second

// bells listens as the application does.
func (e *examination) bells(s *server) {
	if s != nil && s.Standby {
		e.add("bells", OK, "", "a standby takes no LISTEN; its changes are found by polling")
		return
	}
	status, err := e.listen()
	switch {
	case err != nil:
		e.add("bells", Error, "mend --listen-dsn, and Config.ListenDSN with it", "%v", err)
	case status.Mode == listener.Listening:
		e.add("bells", OK, "", "bells of other processes arrive")
	case status.Mode == listener.Polling:
		e.add("bells", Warning, "see docs/listen-notify.md", "changes of other processes are found by polling: %s", status.Reason)
	default:
		why := status.Reason
		if why == "" || !strings.Contains(why, status.LastError) {
			why = strings.TrimSpace(why + " " + status.LastError)
		}
		e.add("bells", Warning, "set Config.ListenDSN (here --listen-dsn) to the server itself or to a session pooler; until then changes of other servers come after 0.5 s. "+
			"Through a transaction pooler the application's own URL needs default_query_exec_mode=exec", "bells do not arrive: %s", why)
	}
	if s != nil {
		e.notifications()
	}
}

// listen runs a listener until it is known what becomes of it.
func (e *examination) listen() (listener.Status, error) {
	pool, err := e.db.DB()
	if err != nil {
		return listener.Status{}, err
	}
	l, err := listener.New(listener.Config{
		DB: pool, Dialect: e.db.Name(), DSN: e.ListenDSN, Channel: e.tables.Channel, Ring: func() {}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return listener.Status{}, err
	}
	ctx, cancel := context.WithTimeout(e.ctx, bellsLimit)
	defer cancel()
	var running sync.WaitGroup
	running.Go(func() { l.Run(ctx) })
	defer running.Wait()
	defer cancel()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		status := l.Status()
		if status.Mode == listener.Listening || status.Mode == listener.Polling || (status.Mode == listener.Degraded && status.LastError != "") {
			return status, nil
		}
		select {
		case <-ctx.Done():
			status.LastError = fmt.Sprintf("nothing happened for %v", bellsLimit)
			return status, e.ctx.Err()
		case <-look.C:
		}
	}
}

// notifications looks at the queue of NOTIFY, which one listener can hold up.
func (e *examination) notifications() {
	var usage float64
	const much = 0.1
	if err := e.db.Raw("SELECT pg_notification_queue_usage()").Scan(&usage).Error; err != nil {
		e.failed("bells", err)
	} else if usage > much {
		e.add("bells", Warning, "end the session that listens and does not come back: look in pg_stat_activity for one 'idle in transaction' that has run LISTEN", "the queue of NOTIFY is %.0f %% full; when it is full, commits that notify fail", 100*usage)
	}
}

// lag tells how far behind a standby is, and how far back the oldest writing
// transaction holds everybody's cursors.
func (e *examination) lag(s *server) {
	const late = 30.0
	switch {
	case s.Standby && s.Replay != nil && *s.Replay > late:
		e.add("lag", Warning, "look at the standby's replication, or read from the primary", "the standby has replayed nothing for %.0f s", *s.Replay)
		return
	case s.Standby:
		e.add("lag", OK, "", "the standby keeps up")
		return
	}
	var open, behind int64
	err := e.db.Raw("SELECT count(x), pg_snapshot_xmax(s)::text::bigint - pg_snapshot_xmin(s)::text::bigint FROM pg_current_snapshot() s LEFT JOIN LATERAL pg_snapshot_xip(s) x ON true GROUP BY s::text, pg_snapshot_xmax(s)::text, pg_snapshot_xmin(s)::text").Row().Scan(&open, &behind)
	const many, far = 1000, 1_000_000
	switch {
	case err != nil:
		e.failed("lag", err)
	case open > many || behind > far:
		e.add("lag", Warning, "end the old transactions below; cursors carry each open transaction", "%d transactions are open, the oldest %d transactions ago", open, behind)
	default:
		e.add("lag", OK, "", "%d writing transactions are open", open)
	}
}

// session is one that has been in a transaction for long.
type session struct {
	PID         int `gorm:"column:pid"`
	Role        string
	Application string
	State       string
	Seconds     float64
}

// transactions looks for those that have been open for long. They keep clean-ups
// and VACUUM from removing anything newer.
func (e *examination) transactions(s *server) {
	var found []session
	err := e.db.Raw(`SELECT pid, usename AS role, application_name AS application, state, extract(epoch FROM now() - xact_start)::float8 AS seconds FROM pg_stat_activity
WHERE xact_start < now() - ? * interval '1 second' AND backend_type = 'client backend' AND pid <> pg_backend_pid() ORDER BY xact_start LIMIT 10`, e.OldTransaction.Seconds()).Scan(&found).Error
	if err != nil {
		e.failed("transactions", err)
		return
	}
	for _, t := range found {
		e.add("transactions", Warning, fmt.Sprintf("SELECT pg_terminate_backend(%d, 5000), and set idle_in_transaction_session_timeout", t.PID),
			"the session %d of role %s (application %q, %s) has been in a transaction for %v; nothing newer can be cleaned up meanwhile", t.PID, t.Role, t.Application, t.State, time.Duration(t.Seconds*float64(time.Second)).Round(time.Second))
	}
	var prepared []struct {
		Gid     string
		Seconds float64
	}
	err = e.db.Raw("SELECT gid, extract(epoch FROM now() - prepared)::float8 AS seconds FROM pg_prepared_xacts WHERE prepared < now() - ? * interval '1 second' ORDER BY prepared LIMIT 10", e.OldTransaction.Seconds()).Scan(&prepared).Error
	if err != nil {
		e.failed("transactions", err)
		return
	}
	for _, p := range prepared {
		e.add("transactions", Warning, fmt.Sprintf("COMMIT PREPARED or ROLLBACK PREPARED '%s'", p.Gid), "the transaction %q was prepared %v ago and never ended", p.Gid, time.Duration(p.Seconds*float64(time.Second)).Round(time.Second))
	}
	switch {
	case len(found)+len(prepared) > 0:
	case !s.Stats:
		e.add("transactions", OK, "", "none of this role's is older than %v (GRANT pg_read_all_stats to see those of others)", e.OldTransaction)
	default:
		e.add("transactions", OK, "", "none is older than %v", e.OldTransaction)
	}
}
