package handlers_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/models"
)

func openTasks(t *testing.T, d *dbtest.DB) server {
	t.Helper()
	return open(t, d, nil, gormsync.Entity{Model: &Task{}, FieldLog: true, Writable: true})
}

func TestPushRequestsThatAreNone(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		s := openTasks(t, d)
		many := strings.Repeat(`{"id":"a","action":"delete"},`, 1000) + `{"id":"a","action":"delete"}`
		for name, c := range map[string]struct {
			body string
			code int
			err  string
		}{
			"nothing":         {``, 400, "bad_request"},
			"no JSON":         {`{`, 400, "bad_request"},
			"a list":          {`[]`, 400, "bad_request"},
			"two objects":     {`{"changes":[]} {}`, 400, "bad_request"},
			"changes no list": {`{"changes":{}}`, 400, "bad_request"},
			"client a number": {`{"client_id":5,"changes":[]}`, 400, "bad_request"},
			"long client":     {fmt.Sprintf(`{"client_id":%q,"changes":[]}`, strings.Repeat("x", 65)), 422, "invalid"},
			"NUL client":      {`{"client_id":"a\u0000","changes":[]}`, 422, "invalid"},
			"too large":       {`{"changes":[{"id":"` + strings.Repeat("x", 1<<20) + `"}]}`, 413, "too_large"},
			"too many":        {`{"changes":[` + many + `]}`, 413, "too_large"},
		} {
			for _, path := range []string{"/sync/tasks", "/sync", "/field-sync/tasks"} {
				r := s.send(path, c.body)
				require.Equal(t, []any{c.code, c.err}, []any{r.Code, r.Error}, "%s %s: %s", path, name, r.Text)
				require.NotEmpty(t, r.Message)
			}
		}
		require.Equal(t, http.StatusOK, s.send("/sync/tasks", fmt.Sprintf(`{"client_id":%q,"changes":[]}`, strings.Repeat("é", 64))).Code, "characters, not bytes")
		r := s.send("/sync/tasks", `{}`)
		require.Equal(t, http.StatusOK, r.Code)
		require.Contains(t, r.Text, `"applied":[],"conflicts":[],"results":[]`)
	})
}

// One bad change is refused, with what is wrong, and does not spoil the others.
func TestPushBadChangesAreRefusedAlone(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		s := openTasks(t, d)
		bad := []struct{ change, field string }{
			{`null`, "action"},
			{`7`, ""},
			{`[]`, ""},
			{`{"action":"update"}`, "id"},
			{`{"id":"","action":"delete"}`, "id"},
			{`{"id":{},"action":"delete"}`, "id"},
			{`{"id":"a\u0000b","action":"delete"}`, "id"},
			{`{"id":"a"}`, "action"},
			{`{"id":"a","action":"upsert"}`, "action"},
			{`{"id":"a","action":7}`, "action"},
			{`{"id":"a","action":"create","data":[]}`, "data"},
			{`{"id":"a","action":"create","data":"x"}`, "data"},
			{`{"id":"a","action":"create","client_version":"1"}`, "client_version"},
			{`{"id":"a","action":"create","client_version":-1}`, "client_version"},
			{`{"id":"a","action":"create","client_version":1.5}`, "client_version"},
			{`{"id":"a","action":"create","timestamp":"yesterday"}`, "timestamp"},
			{`{"id":"a","action":"create","timestamp":5}`, "timestamp"},
			{`{"id":"a","action":"create","mutation_id":5}`, "mutation_id"},
			{fmt.Sprintf(`{"id":"a","action":"create","mutation_id":%q}`, strings.Repeat("x", 65)), "mutation_id"},
			{`{"id":"a","action":"create","data":{"title":7}}`, "title"},
			{`{"id":"a","action":"create","data":{"title":null,"rank":1.5}}`, "rank"},
			{`{"id":"a","action":"create","data":{"rank":"99999999999999999999"}}`, "rank"},
			{`{"id":"a","action":"create","data":{"done":"yes"}}`, "done"},
		}
		var changes []string
		for i, b := range bad {
			changes = append(changes, b.change, fmt.Sprintf(`{"id":"good%d","action":"create","data":{"title":"t"}}`, i))
		}
		results := s.push("tasks", changes...)
		for i, b := range bad {
			r := results[2*i]
			require.Equal(t, models.PushRejected, r.Status, b.change)
			require.Equal(t, []any{"invalid", b.field}, []any{r.Error.Code, r.Error.Field}, "%s: %s", b.change, r.Error.Message)
			require.Equal(t, models.PushApplied, results[2*i+1].Status)
		}
		var count int64
		require.NoError(t, s.db.Model(&Task{}).Count(&count).Error)
		require.EqualValues(t, len(bad), count)
	})
}

func TestPushAtomic(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		s := open(t, d, nil, gormsync.Entity{Model: &Task{}, FieldLog: true, Writable: true}, gormsync.Entity{Model: &Step{}, Writable: true})
		body := func(third string) string {
			return `{"client_id":"c","atomic":true,"changes":[
				{"entity":"tasks","id":"a","action":"create","data":{"title":"t"},"mutation_id":"1` + third + `"},
				{"entity":"steps","id":"s","action":"create","data":{"task_id":"a"},"mutation_id":"2` + third + `"},
				{"entity":"steps","id":"` + third + `","action":"update","data":{"task_id":"a"},"mutation_id":"3` + third + `"}]}`
		}
		for range 2 { // the second time it is known already
			r := s.send("/sync", body("none"))
			require.Equal(t, []string{"tasks atomic", "steps atomic", "steps not_found"}, codes(r), r.Text)
			require.Equal(t, []string{"a", "s", "none"}, r.Conflicts)
			var count int64
			require.NoError(t, s.db.Table("tasks").Count(&count).Error)
			require.Zero(t, count)
		}
		r := s.send("/sync", body("s"))
		require.Equal(t, []string{"tasks applied", "steps applied", "steps applied"}, codes(r), r.Text)
		require.Equal(t, []string{"a", "s", "s"}, r.Applied)
		r = s.send("/sync", body("s"))
		require.Equal(t, []string{"tasks duplicate", "steps duplicate", "steps duplicate"}, codes(r), r.Text)

		// All in one transaction: whoever reads the log sees them together.
		var txs []int64
		require.NoError(t, s.db.Table(models.TablesFor("").Changes).Distinct("tx").Pluck("tx", &txs).Error)
		require.Len(t, txs, 1)

		twice := `{"client_id":"c","atomic":true,"changes":[
			{"entity":"tasks","id":"b","action":"create","data":{"title":"t"},"mutation_id":"x"},
			{"entity":"tasks","id":"b","action":"create","data":{"title":"other"},"mutation_id":"x"}]}`
		require.Equal(t, []string{"tasks atomic", "tasks mutation_reused"}, codes(s.send("/sync", twice)))
		refused := `{"client_id":"c","atomic":true,"changes":[
			{"entity":"tasks","id":"b","action":"create","data":{"title":"t"},"mutation_id":"y"},
			{"entity":"nothing","id":"b","action":"create","mutation_id":"z"}]}`
		require.Equal(t, []string{"tasks atomic", "nothing unknown_entity"}, codes(s.send("/sync", refused)))
		require.Equal(t, models.PushRejected, s.one("steps", `{"id":"none","action":"update","data":{"task_id":"a"},"mutation_id":"w"}`).Status)
		before := `{"client_id":"c1","atomic":true,"changes":[
			{"entity":"tasks","id":"b","action":"create","data":{"title":"t"},"mutation_id":"v"},
			{"entity":"steps","id":"none","action":"update","data":{"task_id":"a"},"mutation_id":"w"}]}`
		r = s.send("/sync", before)
		require.Equal(t, []string{"tasks atomic", "steps not_found"}, codes(r), "what was refused before: %s", r.Text)
		require.ErrorIs(t, s.db.First(&Task{}, "id = ?", "b").Error, gorm.ErrRecordNotFound)
	})
}

// A Step refers to its task, which is checked when the transaction ends.
type Step struct {
	ID     string `gorm:"primaryKey"`
	TaskID string `gorm:"unique"`
	Note   string `gorm:"check:note <> 'never'"`
	Task   *Task  `gorm:"constraint:OnDelete:RESTRICT"`
}

// The rules of the tables are told as such, without a word of SQL.
func TestPushBreaksRulesOfTheTable(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		s := open(t, d, nil, gormsync.Entity{Model: &Task{}, Writable: true}, gormsync.Entity{Model: &Step{}, Writable: true})
		if d.Dialect == "sqlite" {
			pool, err := s.db.DB()
			require.NoError(t, err)
			pool.SetMaxOpenConns(1) // one connection must do for a push
			require.NoError(t, s.db.Exec("PRAGMA foreign_keys = ON").Error)
		}
		s.one("tasks", `{"id":"t","action":"create","data":{"title":"t"}}`)
		require.Equal(t, models.PushApplied, s.one("steps", `{"id":"s","action":"create","data":{"task_id":"t"}}`).Status)
		for _, c := range []struct{ entity, change, words string }{
			{"steps", `{"id":"u","action":"create","data":{"task_id":"t"},"mutation_id":"u"}`, "Another row has this value already."},
			{"steps", `{"id":"u","action":"create","data":{"task_id":"none"},"mutation_id":"f"}`, "refers to is not there"},
			{"steps", `{"id":"s","action":"update","data":{"task_id":"none"}}`, "refers to is not there"},
			{"steps", `{"id":"s","action":"update","data":{"note":"never"}}`, "a rule of the table"},
			{"tasks", `{"id":"t","action":"delete"}`, "refers to this one is"},
		} {
			for range 2 {
				r := s.one(c.entity, c.change)
				require.Equal(t, models.PushRejected, r.Status, c.change)
				require.Equal(t, "invalid", r.Error.Code)
				require.Contains(t, r.Error.Message, c.words)
				require.NotContains(t, strings.ToLower(r.Error.Message), "constraint")
			}
		}
		require.Equal(t, models.PushApplied, s.one("steps", `{"id":"s","action":"delete"}`).Status)
	})
}

// A Bill has rules and hooks of its own.
type Bill struct {
	ID      string `gorm:"primaryKey"`
	Title   string
	Slug    string
	Amount  int
	Touched int
	Secret  string `gorm:"->:false;<-"`
}

var errAmount = errors.New("an amount cannot be negative")

// Validate is asked before the row is saved.
func (b *Bill) Validate() error {
	if b.Amount < 0 {
		return errAmount
	}
	return nil
}

// BeforeSave sets a field that no client sends.
func (b *Bill) BeforeSave(*gorm.DB) error {
	b.Slug = strings.ToLower(b.Title)
	return nil
}

// BeforeDelete keeps what was paid.
func (b *Bill) BeforeDelete(*gorm.DB) error {
	if b.Amount > 100 {
		return fmt.Errorf("the bill over %d is paid", b.Amount)
	}
	return nil
}

func TestPushRunsHooksAndValidate(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		s := open(t, d, nil, gormsync.Entity{Model: &Bill{}, FieldLog: true, Writable: true})
		r := s.one("bills", `{"id":"b","action":"create","data":{"title":"Rent","amount":500}}`)
		require.Contains(t, string(r.Data), `"slug":"rent"`)
		require.NoError(t, s.db.Exec("UPDATE bills SET secret = 'kept' WHERE id = 'b'").Error)
		r = s.one("bills", `{"id":"b","action":"update","data":{"title":"Rent May"}}`)
		require.Equal(t, models.PushApplied, r.Status, "%+v", r.Error)
		require.Contains(t, string(r.Data), `"slug":"rent may"`)
		var secret string
		require.NoError(t, s.db.Raw("SELECT secret FROM bills").Scan(&secret).Error)
		require.Equal(t, "kept", secret, "a column that the model does not read stays as it is")

		r = s.one("bills", `{"id":"b","action":"update","data":{"amount":-1}}`)
		require.Equal(t, []any{models.PushRejected, errAmount.Error()}, []any{r.Status, r.Error.Message})
		r = s.one("bills", `{"id":"c","action":"create","data":{"amount":-1}}`)
		require.Equal(t, []any{models.PushRejected, errAmount.Error()}, []any{r.Status, r.Error.Message})
		r = s.one("bills", `{"id":"b","action":"delete","mutation_id":"d"}`)
		require.Equal(t, []any{models.PushRejected, "the bill over 500 is paid"}, []any{r.Status, r.Error.Message})
		require.Contains(t, string(r.Data), `"amount":500`)
		require.Equal(t, r, s.one("bills", `{"id":"b","action":"delete","mutation_id":"d"}`))

		// The log says that the title and its slug changed, and nothing else.
		var fields []string
		require.NoError(t, s.db.Table(models.TablesFor("").Fields).Where("version > 1").Order("field").Pluck("field", &fields).Error)
		require.Equal(t, []string{"slug", "title"}, fields)
	})
}
