package trackers

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync/models"
)

func TestFateOfErrors(t *testing.T) {
	t.Parallel()
	for fate, states := range map[fate][]string{
		passing: {
			"08000", "08003", "08006", "40001", "40P01", "40003", "53100", "53200", "53300", "55P03", "55006",
			"57014", "57P01", "57P02", "57P03", "25006", "25P03", "25P04", "58000", "58030", "26000", "XX001", "XX002",
		},
		unclear: {"25P01", "25P02", "XX000"},
		final:   {"0A000", "22001", "23505", "42601", "42P01", "42501", "44000", "54000", "54001", "55000", "P0001", "MY001"},
	} {
		for _, state := range states {
			err := error(&pgconn.PgError{Code: state})
			require.Equal(t, fate, fateOf(fmt.Errorf("saving: %w", &saveError{err})), state)
			require.Equal(t, fate, fateOf(errors.Join(errors.New("first"), err)), state)
		}
	}
	for fate, codes := range map[fate][]sqlite3.ErrNo{
		passing: {
			sqlite3.ErrBusy, sqlite3.ErrLocked, sqlite3.ErrNomem, sqlite3.ErrReadonly, sqlite3.ErrInterrupt, sqlite3.ErrIoErr,
			sqlite3.ErrCorrupt, sqlite3.ErrFull, sqlite3.ErrCantOpen, sqlite3.ErrProtocol, sqlite3.ErrSchema, sqlite3.ErrNotADB,
		},
		unclear: {sqlite3.ErrAbort},
		final:   {sqlite3.ErrError, sqlite3.ErrTooBig, sqlite3.ErrConstraint, sqlite3.ErrMismatch, sqlite3.ErrRange},
	} {
		for _, code := range codes {
			require.Equal(t, fate, fateOf(fmt.Errorf("saving: %w", sqlite3.Error{Code: code})), code)
		}
	}
	for fate, all := range map[fate][]error{
		passing: {&net.OpError{Op: "read", Err: io.EOF}},
		unclear: {context.Canceled, context.DeadlineExceeded, driver.ErrBadConn, sql.ErrConnDone, io.EOF, io.ErrUnexpectedEOF, sql.ErrTxDone},
		final:   {errors.New("a hook's own"), sql.ErrNoRows},
	} {
		for _, err := range all {
			require.Equal(t, fate, fateOf(&saveError{err}), err)
		}
	}
	for _, err := range []error{&pgconn.PgError{Code: "42P01"}, &pgconn.PgError{Code: "42501"}, sqlite3.Error{Code: sqlite3.ErrError}} {
		require.Equal(t, passing, fateOf(&logError{err}), "the log is away")
	}
	require.Equal(t, passing, fateOf(&pgconn.PgError{Code: "0A000", Message: "cached plan must not change result type"}))
	require.Equal(t, passing, fateOf(&saveError{&statementError{io.ErrUnexpectedEOF}}), "a connection")
	require.Equal(t, passing, fateOf(io.EOF), "a connection")
	for _, err := range []error{context.Canceled, context.DeadlineExceeded, driver.ErrBadConn, sql.ErrConnDone} {
		require.Equal(t, passing, fateOf(err), err)
		require.Equal(t, passing, fateOf(&saveError{&statementError{err}}), err)
		require.Equal(t, passing, fateOf(&saveError{&logError{err}}), err)
	}
	require.Nil(t, refusalOf(nil, context.Canceled))
	require.Equal(t, &models.PushError{Code: "internal", Field: "votes", Message: broken}, refusalOf(nil, &fieldError{"votes", &pgconn.PgError{Code: "42601"}}))
}
