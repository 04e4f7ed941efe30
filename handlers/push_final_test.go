package handlers_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/models"
)

// A Ledger fails in the way that its note says.
type Ledger struct {
	ID    string `gorm:"primaryKey"`
	Body  string
	Note  string
	Votes float64
}

var errLedger = errors.New("this ledger is closed")

// BeforeSave fails, or does not look at what failed.
func (l *Ledger) BeforeSave(tx *gorm.DB) error {
	switch l.Note {
	case "bad SQL":
		return fmt.Errorf("asking: %w", tx.Exec("SELECT secret FROM no_such_table").Error)
	case "overlooked":
		_ = tx.Exec("SELECT secret FROM no_such_table").Error
	case "words":
		return errLedger
	case "end":
		return io.EOF
	case "no words":
		return errors.New("")
	case "many words":
		return errors.New(strings.Repeat("ä", 100_000))
	case "rolled back":
		_ = tx.Rollback()
	case "panic":
		panic("the ledger burns")
	case "slow":
		return fmt.Errorf("asking: %w", context.DeadlineExceeded)
	}
	return nil
}

// AfterFind fails for the closed ones.
func (l *Ledger) AfterFind(*gorm.DB) error {
	if l.Body == "closed" {
		return errLedger
	}
	return nil
}

// book keeps what was logged.
type book struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *book) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// take gives what was logged since it was asked last.
func (b *book) take() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	text := b.text.String()
	b.text.Reset()
	return text
}

func openLedgers(t *testing.T, d *dbtest.DB) (server, *book) {
	t.Helper()
	db, log := d.Open(t), &book{}
	require.NoError(t, db.AutoMigrate(&Ledger{}))
	raise := `CREATE TRIGGER locked BEFORE UPDATE ON ledgers WHEN NEW.note = 'raise' BEGIN SELECT RAISE(ABORT, 'the ledger is locked'); END`
	if d.Dialect == "postgres" {
		raise = `CREATE INDEX ON ledgers (body);
CREATE FUNCTION locked() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.note = 'raise' THEN RAISE EXCEPTION 'the ledger is locked'; END IF; RETURN NEW; END $$;
CREATE TRIGGER locked BEFORE UPDATE ON ledgers FOR EACH ROW EXECUTE FUNCTION locked()`
	}
	pool, err := db.DB()
	require.NoError(t, err)
	_, err = pool.ExecContext(t.Context(), raise)
	require.NoError(t, err)
	s := serve(t, db, gormsync.Config{
		Entities: []gormsync.Entity{{Model: &Ledger{}, Writable: true, FieldLog: true, Strategy: gormsync.ServerWins, Resolve: map[string]func(gormsync.Conflict) (any, error){
			"votes": func(gormsync.Conflict) (any, error) { return math.NaN(), nil },
		}}},
		Authorize: gormsync.UnsafeAllowAll, Poll: -1, Retention: -1, MutationRetention: -1, Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	d.Check(func(t testing.TB) { dbtest.Replay(t, s.log) })
	return s, log
}

// What will never pass is refused once and for all, in words that tell nothing of
// the database. The application's log has the error.
func TestPushErrorsThatDoNotPass(t *testing.T) {
	const server = "The server could not apply this change; its log says why."
	long := make([]byte, 4000)
	_, err := rand.Read(long)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		data, only           string // only on that database; on the other it is applied
		code, field, message string
		logged               string
	}{
		"a text too long for an index":  {fmt.Sprintf(`{"body":%q}`, hex.EncodeToString(long)), "postgres", "invalid", "body", "The database cannot hold one of the values.", "54000"},
		"a trigger that raises":         {`{"note":"raise"}`, "", "invalid", "", "The values break a rule of the table.", ""},
		"SQL of a hook":                 {`{"note":"bad SQL"}`, "", "internal", "", server, "no_such_table"},
		"SQL that a hook does not mind": {`{"note":"overlooked"}`, "postgres", "internal", "", server, "25P02"},
		"words of a hook":               {`{"note":"words"}`, "", "invalid", "", "this ledger is closed", ""},
		"no words of a hook":            {`{"note":"no words"}`, "", "invalid", "", "The application refused this change.", ""},
		"many words of a hook":          {`{"note":"many words"}`, "", "invalid", "", strings.Repeat("ä", 500) + "…", ""},
		"a hook that rolls back":        {`{"note":"rolled back"}`, "", "internal", "", server, "already been"},
		"a hook that panics":            {`{"note":"panic"}`, "", "internal", "", server, "burns"},
		"a hook that is always slow":    {`{"note":"slow"}`, "", "internal", "", server, "deadline"},
		"a hook that reads to the end":  {`{"note":"end"}`, "", "internal", "", server, "EOF"},
		"no JSON of Resolve":            {`{"votes":9}`, "", "internal", "votes", server, "NaN"},
	} {
		t.Run(name, func(t *testing.T) {
			dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
				s, log := openLedgers(t, d)
				base := version(t, s.one("ledgers", `{"id":"a","action":"create","data":{"votes":1}}`))
				require.NoError(t, s.db.Model(&Ledger{ID: "a"}).Update("votes", 2).Error)
				s.client = "c2"
				log.take()
				change := fmt.Sprintf(`{"id":"a","action":"update","client_version":%d,"data":%s,"mutation_id":"m"}`, base, c.data)
				got := s.push("ledgers", change, `{"id":"b","action":"create","mutation_id":"n"}`)
				require.Equal(t, models.PushApplied, got[1].Status, "the others are applied")
				if c.only != "" && c.only != d.Dialect {
					require.Equal(t, models.PushApplied, got[0].Status, "%+v", got[0].Error)
					return
				}
				require.Equal(t, models.PushRejected, got[0].Status)
				require.Equal(t, models.PushError{Code: c.code, Field: c.field, Message: c.message}, *got[0].Error)
				require.Contains(t, string(got[0].Data), `"votes":2`, "the row as it is")
				if c.logged != "" {
					require.Contains(t, log.take(), c.logged)
				} else {
					require.Empty(t, log.take())
				}
				require.Equal(t, got[0], s.one("ledgers", change), "the first answer again")
				require.Empty(t, log.take(), "nothing was tried again")

				all := s.send("/sync/ledgers", fmt.Sprintf(`{"client_id":"c3","atomic":true,"changes":[{"id":"c","action":"create","mutation_id":"1"},%s]}`, change))
				require.Equal(t, []string{" atomic", " " + c.code}, codes(all), all.Text)
				require.Equal(t, all.Results, s.send("/sync/ledgers", fmt.Sprintf(`{"client_id":"c3","atomic":true,"changes":[{"id":"c","action":"create","mutation_id":"1"},%s]}`, change)).Results)
				require.Equal(t, int64(2), count(t, s.db, &Ledger{}))
			})
		})
	}
}

func count(t *testing.T, db *gorm.DB, model any) (n int64) {
	t.Helper()
	require.NoError(t, db.Model(model).Count(&n).Error)
	return n
}

func TestPushOfAnUnreadableRow(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		s, _ := openLedgers(t, d)
		require.Equal(t, models.PushApplied, s.one("ledgers", `{"id":"a","action":"create","data":{"body":"closed"},"mutation_id":"1"}`).Status)
		for i, change := range []string{`{"id":"a","action":"update","data":{"votes":3},"mutation_id":"2"}`, `{"id":"a","action":"delete","mutation_id":"3"}`} {
			r := s.one("ledgers", change)
			require.Equal(t, []any{models.PushRejected, "this ledger is closed"}, []any{r.Status, r.Error.Message}, i)
			require.Equal(t, r, s.one("ledgers", change))
		}
	})
}

// What may pass is not final: the same change is taken later.
func TestPushErrorsThatPass(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		s, _ := openLedgers(t, d)
		require.Equal(t, models.PushApplied, s.one("ledgers", `{"id":"a","action":"create"}`).Status)

		url := d.URL + "&default_transaction_read_only=on"
		if d.Dialect == "sqlite" {
			url = d.URL + "?_query_only=1"
		}
		standby, err := gormsync.Open(url)
		require.NoError(t, err)
		t.Cleanup(func() {
			pool, err := standby.DB()
			require.NoError(t, err)
			require.NoError(t, pool.Close())
		})
		read := serve(t, standby, gormsync.Config{Entities: []gormsync.Entity{{Model: &Ledger{}, Writable: true, FieldLog: true, Strategy: gormsync.ServerWins}},
			Authorize: gormsync.UnsafeAllowAll, Poll: -1, Retention: -1, MutationRetention: -1, Logger: slog.New(slog.DiscardHandler)})
		change := `{"id":"a","action":"update","data":{"body":"x"},"mutation_id":"n"}`
		require.Equal(t, models.PushRetry, read.one("ledgers", change).Status)
		require.Equal(t, models.PushApplied, s.one("ledgers", change).Status)
	})
}

// A change is no answer's worth while the log is away: it is the server that is to
// be mended.
func TestPushWithoutItsLog(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		s, log := openLedgers(t, d)
		table := models.TablesFor("").Fields
		require.NoError(t, s.db.Migrator().RenameTable(table, "away"))
		change := `{"client_id":"c1","changes":[{"id":"a","action":"create","data":{"body":"x"},"mutation_id":"m"}]}`
		r := s.send("/sync/ledgers", change)
		require.Equal(t, http.StatusOK, r.Code)
		require.Equal(t, models.PushRetry, r.Results[0].Status)
		require.Contains(t, log.take(), table)
		require.NoError(t, s.db.Migrator().RenameTable("away", table))
		require.Equal(t, models.PushApplied, s.send("/sync/ledgers", change).Results[0].Status)
	})
}

// mutations counts those whose answer is remembered.
func mutations(t *testing.T, db *gorm.DB) (n int64) {
	t.Helper()
	require.NoError(t, db.Table(models.TablesFor("").Mutations).Count(&n).Error)
	return n
}
