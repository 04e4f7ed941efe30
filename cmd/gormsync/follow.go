package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fatih/color"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

// How long tail waits before it tries a broken connection again: ever longer.
const (
	firstPause = 100 * time.Millisecond
	longPause  = 5 * time.Second
)

// follow shows what comes after the cursor, until the context ends.
func (t *tool) follow(ctx context.Context, log *trackers.Log, f *tail, cursor models.Cursor, bell <-chan struct{}) error {
	var pause time.Duration
	for shown := 0; ctx.Err() == nil; { // to be interrupted is its end
		page, err := log.Changes().Read(ctx, nil, cursor, 0)
		switch {
		case err != nil && ctx.Err() == nil && !passes(log.Dialect(), err):
			return err
		case err != nil:
			pause = t.broken(ctx, err, pause)
			continue
		case pause > 0:
			t.warn("the database answers again")
			pause = 0
		}
		for i := range page.Entries {
			if !f.wants(&page.Entries[i].Row) {
				continue
			}
			if err := t.show(&page.Entries[i].Row, page.After(i), f.wide); err != nil {
				return err
			}
			if shown++; shown == f.count {
				return nil
			}
		}
		if cursor = page.Cursor; page.More {
			continue
		}
		select {
		case <-ctx.Done():
		case <-bell:
		}
	}
	return nil
}

// broken says once that the connection broke, waits, and gives the next pause.
func (t *tool) broken(ctx context.Context, err error, pause time.Duration) time.Duration {
	if pause == 0 && ctx.Err() == nil {
		t.warn("the database does not answer, trying again until it does: " + strings.TrimPrefix(err.Error(), "gormsync: "))
	}
	pause = min(max(2*pause, firstPause), longPause)
	select {
	case <-ctx.Done():
	case <-time.After(pause):
	}
	return pause
}

// passes tells whether an error is of the connection or the server's state, and not
// of what was asked.
func passes(dialect string, err error) bool {
	if errors.Is(err, models.ErrCursorExpired) {
		return false
	}
	if dialect == "sqlite" {
		return strings.Contains(err.Error(), "database is locked")
	}
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return true
	}
	switch pg.Code[:2] {
	case "08", "53", "57": // connection, too many of them, operator
		return true
	}
	return false
}

// warn tells on stderr of what is no end.
func (t *tool) warn(text string) {
	if t.json {
		_ = json.NewEncoder(t.err).Encode(map[string]string{"warning": text})
		return
	}
	_, _ = fmt.Fprintln(t.err, color.YellowString("gormsync:"), text)
}
