package migrate_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/migrate"
	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

// What rhtmx-sync had, in its own order.
type originRow struct {
	ID       int64
	Entity   string
	EntityID string
	Field    string // of the field log
	Action   string
	Data     *string // the field log's value
	Version  int64
	ClientID *string
	At       time.Time `gorm:"-"`
}

const originRows = 10_000

// originLog makes rows as rhtmx-sync did: versions counted for each entity, some
// doubled, some written later than their successors.
func originLog(random *rand.Rand, fields bool) []originRow {
	at := time.Date(2025, 3, 1, 8, 0, 0, 0, time.UTC)
	next := map[string]int64{}
	rows := make([]originRow, originRows)
	for i := range rows {
		at = at.Add(time.Duration(random.IntN(3_000_000)) * time.Microsecond)
		r := originRow{ID: int64(i + 1), Entity: []string{"todos", "lists"}[random.IntN(2)], EntityID: fmt.Sprint("id-", random.IntN(50)), At: at}
		switch random.IntN(10) {
		case 0: // read at the same time as the one before
		case 1: // read early, written late
			next[r.Entity]++
			r.Version = max(1, next[r.Entity]-3)
		default:
			next[r.Entity]++
		}
		if r.Version == 0 {
			r.Version = max(1, next[r.Entity])
		}
		r.Action = []string{"create", "update", "update", "delete"}[random.IntN(4)]
		text := fmt.Sprintf(`{"title": "n° %d", "done":%v}`, i, i%2 == 0)
		if fields {
			r.Field, text = []string{"title", "done"}[random.IntN(2)], fmt.Sprintf(`"n° %d"`, i)
			if r.Action == "create" {
				r.Action = "update"
			}
		}
		if r.Action != "delete" {
			r.Data = &text
		}
		if client := fmt.Sprint("c", i%7); i%3 > 0 {
			r.ClientID = &client
		}
		rows[i] = r
	}
	return rows
}

func fillOrigin(t *testing.T, db *gorm.DB, table string, rows []originRow) {
	t.Helper()
	columns := "id, entity, entity_id, action, data, version, client_id, created_at"
	if strings.Contains(table, "field") {
		columns = "id, entity, entity_id, action, value, version, client_id, timestamp, field"
	}
	for page := range slices.Chunk(rows, 500) {
		var values []string
		var args []any
		for i, r := range page {
			at := r.At.Format("2006-01-02 15:04:05.000000")
			if db.Name() == "sqlite" && i%2 == 0 { // SQL text, or what sqlx writes of a DateTime<Utc>
				at = r.At.Format("2006-01-02T15:04:05.000000+00:00")
			}
			place := "(?, ?, ?, ?, ?, ?, ?, ?"
			args = append(args, r.ID, r.Entity, r.EntityID, r.Action, r.Data, r.Version, r.ClientID, at)
			if r.Field != "" {
				place += ", ?"
				args = append(args, r.Field)
			}
			values = append(values, place+")")
		}
		require.NoError(t, db.Exec("INSERT INTO "+table+" ("+columns+") VALUES "+strings.Join(values, ", "), args...).Error)
	}
	if db.Name() == "postgres" {
		require.NoError(t, db.Exec("SELECT setval(pg_get_serial_sequence('"+table+"', 'id'), ?)", len(rows)).Error)
	}
}

// makeOrigin makes the tables of rhtmx-sync.
func makeOrigin(t *testing.T, db *gorm.DB) {
	t.Helper()
	script, err := os.ReadFile("testdata/origin_" + db.Name() + ".sql")
	require.NoError(t, err)
	require.NoError(t, db.Exec(string(script), pgxSimple(db)...).Error)
}

// pgxSimple lets pgx take several statements at once.
func pgxSimple(db *gorm.DB) []any {
	if db.Name() == "postgres" {
		return []any{pgx.QueryExecModeSimpleProtocol}
	}
	return nil
}

type Todo struct {
	ID    string `gorm:"primaryKey"`
	Title string
	Done  bool
}

// TestOrigin: 10,000 rows in each log become ours, row for row, each entity's in
// the order of its versions.
func TestOrigin(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		t.Parallel()
		random := rand.New(rand.NewPCG(7, 11))
		db := d.Open(t)
		makeOrigin(t, db)
		changes, fields := originLog(random, false), originLog(random, true)
		fillOrigin(t, db, "_rhtmx_sync_log", changes)
		fillOrigin(t, db, "_rhtmx_field_sync_log", fields)
		require.NoError(t, db.AutoMigrate(&Todo{}))
		require.NoError(t, db.Create([]Todo{{ID: "id-1", Title: "one"}, {ID: "id-2", Title: "two"}}).Error)

		require.NoError(t, migrate.Up(t.Context(), db, ""))
		checkOrigin(t, db, changes, fields)
		before := contents(t, db)
		require.NoError(t, migrate.Up(t.Context(), db, ""))
		require.Equal(t, before, contents(t, db), "the second Up changed something")
		fresh := dbtestLike(t, d).Open(t)
		require.NoError(t, migrate.Up(t.Context(), fresh, ""))
		require.NoError(t, fresh.AutoMigrate(&Todo{}))
		require.Equal(t, catalog(t, fresh), catalog(t, db), "an upgraded database is not like a new one")

		feedWorks(t, db)
	})
}

func dbtestLike(t *testing.T, d *dbtest.DB) *dbtest.DB {
	t.Helper()
	if d.Dialect == "sqlite" {
		return dbtest.SQLite(t)
	}
	return dbtest.Postgres(t)
}

// checkOrigin compares the logs with what rhtmx-sync had.
func checkOrigin(t *testing.T, db *gorm.DB, changes, fields []originRow) {
	t.Helper()
	tables := models.TablesFor("")
	var gotChanges []models.Change
	var gotFields []models.FieldChange
	require.NoError(t, db.Table(tables.Changes).Order("id").Find(&gotChanges).Error)
	require.NoError(t, db.Table(tables.Fields).Order("id").Find(&gotFields).Error)
	require.Len(t, gotChanges, len(changes)+len(fields))
	require.Len(t, gotFields, len(fields))

	parents := map[int64]models.Change{}
	for _, c := range gotChanges {
		parents[c.ID] = c
	}
	byEntity := map[string][]originRow{}
	var wantParents, gotParents []models.Change
	for i := range gotFields {
		f := gotFields[i]
		gotParents = append(gotParents, parents[f.Version])
		wantParents = append(wantParents, models.Change{
			ID: f.ID >> models.FieldBits, Version: f.Version, Entity: f.Entity, EntityID: f.EntityID, Action: models.Update, ClientID: f.ClientID,
			CreatedAt: f.Timestamp, EditedAt: f.Timestamp, Tx: f.Tx,
		})
		delete(parents, f.Version)
		byEntity["field "+f.Entity] = append(byEntity["field "+f.Entity], originRow{
			Entity: f.Entity, EntityID: f.EntityID, Field: f.Field, Action: string(f.Action), Data: textOf(f.Value), ClientID: f.ClientID, At: f.Timestamp.UTC(),
		})
	}
	for _, c := range gotChanges {
		if _, ok := parents[c.ID]; !ok {
			continue // of a field
		}
		if c.ID != c.Version || !c.CreatedAt.Equal(c.EditedAt) || c.ID <= originRows {
			t.Fatalf("the change %+v has a number that an old client may hold, or is not itself", c)
		}
		byEntity[c.Entity] = append(byEntity[c.Entity], originRow{
			Entity: c.Entity, EntityID: c.EntityID, Action: string(c.Action), Data: textOf(c.Data), ClientID: c.ClientID, At: c.CreatedAt.UTC(),
		})
	}
	require.Equal(t, wantParents, gotParents)
	want := map[string][]originRow{}
	for _, rows := range [][]originRow{changes, fields} {
		rows = slices.Clone(rows)
		slices.SortFunc(rows, func(a, b originRow) int {
			return cmp.Or(cmp.Compare(a.Version, b.Version), cmp.Compare(a.ID, b.ID))
		})
		for _, r := range rows {
			r.ID, r.Version = 0, 0
			key := r.Entity
			if r.Field != "" {
				key = "field " + key
			}
			want[key] = append(want[key], r)
		}
	}
	require.Equal(t, want, byEntity)
}

func textOf(j models.JSON) *string {
	if j == nil {
		return nil
	}
	s := string(j)
	return &s
}

// feedWorks pulls from nothing, records a change and pulls on.
func feedWorks(t *testing.T, db *gorm.DB) {
	t.Helper()
	ctx := t.Context()
	log, err := trackers.NewLog(ctx, db, trackers.Config{Entities: []trackers.Entity{{Model: &Todo{}, FieldLog: true}}})
	require.NoError(t, err)
	require.NoError(t, log.Capture(db))
	var seen, withFields int
	page := trackers.Page[models.Change]{More: true}
	last := map[string]int64{}
	for page.More {
		page, err = log.Changes().Read(ctx, nil, page.Cursor, 700)
		require.NoError(t, err)
		for _, e := range page.Entries {
			if e.Version <= last[e.Row.Entity+e.Row.EntityID] {
				t.Fatalf("the versions of %s %s do not grow", e.Row.Entity, e.Row.EntityID)
			}
			last[e.Row.Entity+e.Row.EntityID] = e.Version
			seen++
		}
	}
	require.Equal(t, 2*originRows, seen)
	for cursor, more := (models.Cursor{}), true; more; {
		page, err := log.Fields().Since(ctx, "todos", cursor, 900)
		require.NoError(t, err)
		withFields, cursor, more = withFields+len(page.Entries), page.Cursor, page.More
	}
	require.Greater(t, withFields, originRows/3)

	snapshot, err := log.Changes().Snapshot(ctx, trackers.Filter{Entity: "todos", All: true}, models.Cursor{}, 0)
	require.NoError(t, err)
	require.Len(t, snapshot.Entries, 2)
	require.Equal(t, last["todosid-1"], snapshot.Entries[0].Row.Version)
	require.NoError(t, db.Model(&Todo{ID: "id-1"}).Update("title", "uno").Error)
	after, err := log.Changes().Since(ctx, "todos", snapshot.Cursor, 0)
	require.NoError(t, err)
	require.Len(t, after.Entries, 1)
	require.Greater(t, after.Entries[0].Version, snapshot.Entries[0].Row.Version)
	history, err := log.Changes().History(ctx, "todos", "id-1", 0, 5)
	require.NoError(t, err)
	require.Len(t, history, 5)
}

// contents is all that the log tables hold.
func contents(t *testing.T, db *gorm.DB) map[string][]map[string]any {
	t.Helper()
	all := map[string][]map[string]any{}
	tables := models.TablesFor("")
	for _, table := range []string{tables.Changes, tables.Fields, tables.Meta} {
		var rows []map[string]any
		require.NoError(t, db.Table(table).Order("1").Find(&rows).Error)
		all[table] = rows
	}
	return all
}

// catalog describes all that is in the test's database or schema.
func catalog(t *testing.T, db *gorm.DB) []string {
	t.Helper()
	// A column that was added later is at another place in the text of its table.
	query := `SELECT m.name || ' ' || c.name || ' ' || c.type || ' ' || c."notnull" || ' ' || coalesce(c.dflt_value, '') || ' ' || c.pk || ' ' || (m.sql LIKE '%AUTOINCREMENT%')
 FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table' UNION ALL SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_master WHERE type <> 'table' ORDER BY 1`
	if db.Name() == "postgres" {
		query = `SELECT replace(x, current_schema(), '?') FROM (
SELECT concat_ws(' ', table_name, column_name, data_type, is_nullable, column_default) AS x FROM information_schema.columns WHERE table_schema = current_schema()
UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = current_schema()
UNION ALL SELECT concat_ws(' ', sequencename, cache_size) FROM pg_sequences WHERE schemaname = current_schema()
UNION ALL SELECT concat_ws(' ', conname, pg_get_constraintdef(oid)) FROM pg_constraint WHERE connamespace = current_schema()::regnamespace AND contype <> 'n'
UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = current_schema()::regnamespace
UNION ALL SELECT tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE c.relnamespace = current_schema()::regnamespace AND NOT t.tgisinternal) y ORDER BY 1`
	}
	var lines []string
	require.NoError(t, db.Raw(query).Scan(&lines).Error)
	require.NotEmpty(t, lines)
	return lines
}

// Databases with only one of the two logs, or with nothing in them.
func TestOriginInPart(t *testing.T) {
	t.Parallel()
	for name, drop := range map[string][]string{
		"change log only": {"_rhtmx_field_sync_log"}, "field log only": {"_rhtmx_sync_log"}, "empty": nil,
	} {
		t.Run(name, func(t *testing.T) {
			dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
				db := d.Open(t)
				makeOrigin(t, db)
				changes, fields := originLog(rand.New(rand.NewPCG(1, 2)), false)[:50], originLog(rand.New(rand.NewPCG(3, 4)), true)[:50]
				if name == "empty" {
					changes, fields = nil, nil
				}
				for _, table := range drop {
					require.NoError(t, db.Exec("DROP TABLE "+table).Error)
					if strings.Contains(table, "field") {
						fields = nil
					} else {
						changes = nil
					}
				}
				for table, rows := range map[string][]originRow{"_rhtmx_sync_log": changes, "_rhtmx_field_sync_log": fields} {
					if len(rows) > 0 {
						fillOrigin(t, db, table, rows)
					}
				}
				require.NoError(t, migrate.Up(t.Context(), db, ""))
				var n int64
				require.NoError(t, db.Table("_rhtmx_sync_log").Count(&n).Error)
				require.EqualValues(t, len(changes)+len(fields), n)
				require.NoError(t, db.Table("_rhtmx_field_sync_log").Count(&n).Error)
				require.EqualValues(t, len(fields), n)
				log, err := trackers.NewLog(t.Context(), db, trackers.Config{Entities: []trackers.Entity{{Model: &Todo{}}}})
				require.NoError(t, err)
				require.NoError(t, db.AutoMigrate(&Todo{}))
				require.NoError(t, log.Capture(db))
				require.NoError(t, db.Create(&Todo{ID: "new"}).Error)
				history, err := log.Changes().History(t.Context(), "todos", "new", 0, 0)
				require.NoError(t, err)
				require.Len(t, history, 1)
				require.GreaterOrEqual(t, history[0].Version, n)
			})
		})
	}
}

// What cannot be taken over is named, row and all, by Plan and by Up, and then
// nothing is changed.
func TestOriginWithBadRows(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ sql, want string }{
		"data":          {`INSERT INTO _rhtmx_sync_log (id, entity, entity_id, action, data, version) VALUES (5, 'todos', '1', 'update', '{"a":', 1)`, `the row with id 5 of _rhtmx_sync_log (todos 1) has no JSON in its column data: "{\"a\":"`},
		"value":         {`INSERT INTO _rhtmx_field_sync_log (id, entity, entity_id, field, action, value, version) VALUES (6, 'todos', '2', 'title', 'update', 'no json', 1)`, `the row with id 6 of _rhtmx_field_sync_log (todos 2) has no JSON in its column value: "no json"`},
		"large version": {`INSERT INTO _rhtmx_sync_log (entity, entity_id, action, version) VALUES ('todos', '1', 'delete', 9223372036854770000)`, "the highest number in _rhtmx_sync_log is 9223372036854770000"},
		"large field":   {`INSERT INTO _rhtmx_field_sync_log (entity, entity_id, field, action, version) VALUES ('todos', '1', 'title', 'delete', 2199023255552)`, "beyond 2199023255552 they do not fit"},
	} {
		t.Run(name, func(t *testing.T) {
			dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
				db := d.Open(t)
				makeOrigin(t, db)
				require.NoError(t, db.Exec(c.sql).Error)
				before := catalog(t, db)
				_, planErr := migrate.Plan(t.Context(), db, "")
				for _, err := range []error{planErr, migrate.Up(t.Context(), db, "")} {
					require.ErrorContains(t, err, "taking over the tables of rhtmx-sync")
					require.ErrorContains(t, err, c.want)
					require.ErrorContains(t, err, "nothing was changed")
				}
				require.Equal(t, before, catalog(t, db))
			})
		})
	}
}

// In the field log a field that became NULL was deleted, whatever rhtmx-sync said of
// its value.
func TestOriginFieldActions(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		db := d.Open(t)
		makeOrigin(t, db)
		require.NoError(t, db.Exec(`INSERT INTO _rhtmx_field_sync_log (entity, entity_id, field, action, value, version) VALUES
 ('todos', '1', 'a', 'update', '"x"', 1), ('todos', '1', 'b', 'delete', '"left over"', 2), ('todos', '1', 'c', 'update', ' null ', 3),
 ('todos', '1', 'd', 'update', NULL, 4), ('todos', '1', 'e', 'delete', NULL, 5), ('todos', '1', 'f', 'update', ' {"a": [1.50]}', 6), ('todos', '1', 'g', 'delete', 'no json', 7)`).Error)
		require.NoError(t, migrate.Up(t.Context(), db, ""))
		var got []models.FieldChange
		require.NoError(t, db.Order("id").Find(&got).Error)
		var lines []string
		for _, f := range got {
			lines = append(lines, fmt.Sprintf("%s %s %s", f.Field, f.Action, f.Value))
		}
		require.Equal(t, []string{`a update "x"`, "b delete ", "c delete ", "d delete ", "e delete ", `f update  {"a": [1.50]}`, "g delete "}, lines)
	})
}

// Whoever could use the old tables can use the new ones.
func TestOriginKeepsRights(t *testing.T) {
	t.Parallel()
	d := dbtest.Postgres(t)
	db := d.Open(t)
	makeOrigin(t, db)
	role := "gormsync_rights_" + strings.ToLower(fmt.Sprint(time.Now().UnixNano()))
	require.NoError(t, db.Exec("CREATE ROLE "+role).Error)
	t.Cleanup(func() { // before the schema goes
		require.NoError(t, db.Exec("DROP OWNED BY "+role).Error)
		require.NoError(t, db.Exec("DROP ROLE "+role).Error)
	})
	for _, sql := range []string{
		"GRANT SELECT, INSERT ON _rhtmx_sync_log TO " + role, "GRANT USAGE ON SEQUENCE _rhtmx_sync_log_id_seq TO " + role, "GRANT SELECT ON _rhtmx_field_sync_log TO PUBLIC",
	} {
		require.NoError(t, db.Exec(sql).Error)
	}
	require.NoError(t, migrate.Up(t.Context(), db, ""))
	for query, want := range map[string]bool{
		"SELECT has_table_privilege(?, '_rhtmx_sync_log', 'SELECT')":          true,
		"SELECT has_table_privilege(?, '_rhtmx_sync_log', 'INSERT')":          true,
		"SELECT has_table_privilege(?, '_rhtmx_sync_log', 'UPDATE')":          false,
		"SELECT has_sequence_privilege(?, '_rhtmx_sync_log_id_seq', 'USAGE')": true,
		"SELECT has_table_privilege(?, '_rhtmx_field_sync_log', 'SELECT')":    true,
		"SELECT has_table_privilege(?, '_rhtmx_field_sync_log', 'INSERT')":    false,
	} {
		var got bool
		require.NoError(t, db.Raw(query, role).Scan(&got).Error)
		require.Equal(t, want, got, query)
	}
}
