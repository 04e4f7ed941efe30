package doctor

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lib/pq"

	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

// server is what PostgreSQL says of itself.
type server struct {
	Role    string
	Schema  *string // the first that the role may use
	Version int
	Name    string
	Standby bool
	Replay  *float64 // seconds since the last transaction was replayed
	Stats   bool     // the role sees other roles' sessions
}

func (e *examination) postgres() ([]Finding, error) {
	var s server
	err := e.db.Raw(`SELECT current_user AS role, current_schema() AS schema, current_setting('server_version_num')::int AS version, current_setting('server_version') AS name,
 pg_is_in_recovery() AS standby, extract(epoch FROM now() - pg_last_xact_replay_timestamp())::float8 AS replay, pg_has_role(current_user, 'pg_read_all_stats', 'MEMBER') AS stats`).Scan(&s).Error
	if err != nil {
		return nil, fmt.Errorf("the database does not answer: %w", err)
	}
	e.server(&s)
	if !e.rights(&s) {
		return e.findings, nil
	}
	e.copying()
	if !e.schema() {
		return e.findings, nil
	}
	if !s.Standby {
		e.sequence()
	}
	if e.epoch() {
		e.restored()
	}
	e.bells(&s)
	e.lag(&s)
	e.transactions(&s)
	e.sizes()
	return e.findings, nil
}

func (e *examination) server(s *server) {
	switch {
	case s.Version < 140000:
		e.add("server", Error, "upgrade the server to PostgreSQL 14 or newer", "PostgreSQL %s is not supported", s.Name)
	case s.Standby:
		e.add("server", OK, "", "PostgreSQL %s, a standby, as role %s", s.Name, s.Role)
	default:
		e.add("server", OK, "", "PostgreSQL %s, as role %s", s.Name, s.Role)
	}
}

// relation is a log table or the log's sequence, with what the role lacks there.
type relation struct {
	Name, Schema  string
	Visible       bool
	Lacks         string
	SchemaAllowed bool
}

// rights looks for the tables in the catalog, which everybody may read. It tells
// whether it makes sense to look further.
func (e *examination) rights(s *server) bool {
	var found []relation
	err := e.db.Raw(`SELECT c.relname AS name, n.nspname AS schema, pg_table_is_visible(c.oid) AS visible, has_schema_privilege(n.oid, 'USAGE') AS schema_allowed,
 concat_ws(', ', CASE WHEN NOT has_table_privilege(c.oid, 'SELECT') THEN 'SELECT' END, CASE WHEN NOT has_table_privilege(c.oid, 'INSERT') THEN 'INSERT' END,
 CASE WHEN NOT has_table_privilege(c.oid, 'UPDATE') THEN 'UPDATE' END, CASE WHEN NOT has_table_privilege(c.oid, 'DELETE') THEN 'DELETE' END) AS lacks
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') AND c.relname IN ? ORDER BY visible DESC, 1`, e.logTables()).Scan(&found).Error
	if err != nil {
		e.failed("rights", err)
		return false
	}
	var grants, missing []string
	for _, name := range e.logTables() {
		i := slices.IndexFunc(found, func(r relation) bool { return r.Name == name })
		switch {
		case i < 0:
			missing = append(missing, name)
		case !found[i].SchemaAllowed:
			grants = append(grants, grant("USAGE ON SCHEMA "+pq.QuoteIdentifier(found[i].Schema), s.Role))
			fallthrough
		case found[i].Visible || !found[i].SchemaAllowed:
			if found[i].Lacks != "" {
				grants = append(grants, grant(found[i].Lacks+" ON "+pq.QuoteIdentifier(found[i].Schema)+"."+pq.QuoteIdentifier(name), s.Role))
			}
		default:
			e.add("rights", Error, "put the schema into the search_path of the URL: ?search_path="+found[i].Schema, "the table %s is in the schema %s, which is not in the search_path", name, found[i].Schema)
			return false
		}
	}
	if len(grants) == 0 && e.absent(missing) {
		return false
	}
	grants = append(grants, e.sequenceGrants(s)...)
	if len(grants) > 0 {
		e.add("rights", Error, strings.Join(slices.Compact(grants), "; "), "the role %s may not do all that the application does", s.Role)
		return false
	}
	e.add("rights", OK, "", "the role %s may use the log tables", s.Role)
	return true
}

// logTables are the tables that every installation has.
func (e *examination) logTables() []string {
	return []string{e.tables.Changes, e.tables.Fields, e.tables.Meta, e.tables.Mutations}
}

func grant(what, role string) string { return "GRANT " + what + " TO " + pq.QuoteIdentifier(role) }

func (e *examination) sequenceGrants(s *server) (grants []string) {
	var lacking []string
	err := e.db.Raw(`SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_depend d ON d.objid = c.oid AND d.deptype IN ('a', 'i')
JOIN pg_class t ON t.oid = d.refobjid WHERE c.relkind = 'S' AND t.relname = ? AND pg_table_is_visible(t.oid) AND NOT (has_sequence_privilege(c.oid, 'USAGE') AND has_sequence_privilege(c.oid, 'SELECT'))`, e.tables.Changes).Scan(&lacking).Error
	if err != nil {
		e.failed("rights", err)
	}
	for _, name := range lacking {
		grants = append(grants, grant("USAGE, SELECT, UPDATE ON SEQUENCE "+name, s.Role))
	}
	return grants
}

// sequence looks at where versions come from.
func (e *examination) sequence() {
	var q struct {
		Name          string
		Cache, Behind int64
	}
	changes := pq.QuoteIdentifier(e.tables.Changes)
	var name *string
	if err := e.db.Raw("SELECT pg_get_serial_sequence(?, 'id')", changes).Scan(&name).Error; err != nil {
		e.failed("sequence", err)
		return
	}
	if name == nil {
		e.add("sequence", Error, "let gormsync migrate up make the table", "the column id of %s has no sequence", e.tables.Changes)
		return
	}
	q.Name = *name
	err := e.db.Raw("SELECT (SELECT seqcache FROM pg_sequence WHERE seqrelid = ?::text::regclass) AS cache, (SELECT coalesce(max(id), 0) FROM "+changes+") - (SELECT last_value FROM "+q.Name+") AS behind", q.Name).Scan(&q).Error
	switch {
	case err != nil:
		e.failed("sequence", err)
	case q.Cache != 1:
		e.add("sequence", Error, fmt.Sprintf("ALTER SEQUENCE %s CACHE 1, then restart the application", *name), "the sequence %s has CACHE %d, so versions do not follow the order of changes", *name, q.Cache)
	case q.Behind > 0:
		e.add("sequence", Error, "restart the application: it puts the sequence right when it starts", "the sequence %s is %d behind the log, as after a restore or logical replication; inserts fail", *name, q.Behind)
	default:
		e.add("sequence", OK, "", "CACHE 1, and ahead of the log")
	}
}

// restored looks for rows whose transactions are still to come, and for a log that
// was opened somewhere else last.
func (e *examination) restored() {
	var n int64
	err := e.db.Raw("SELECT count(*) FROM (SELECT 1 FROM " + pq.QuoteIdentifier(e.tables.Changes) + " WHERE tx >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint LIMIT 1000) x").Scan(&n).Error
	if err != nil {
		e.failed("epoch", err)
		return
	}
	const remedy = "restart the application: it mends the log when it starts, and clients take a new snapshot"
	if n > 0 {
		e.add("epoch", Error, remedy, "%d or more rows of the log are of another cluster: this is a restored dump that the application has not started on since", n)
		return
	}
	var here struct{ Home, Known string }
	err = e.db.Raw("SELECT ("+trackers.HomeSQL(e.tables)+") AS home, coalesce((SELECT value FROM "+pq.QuoteIdentifier(e.tables.Meta)+" WHERE key = ?), '') AS known", models.MetaHome).Scan(&here).Error
	switch {
	case err != nil:
		e.failed("epoch", err)
	case here.Known == "":
		e.add("epoch", OK, "", "no application has opened the log yet; none of its transactions is still to come")
	case here.Known != here.Home:
		e.add("epoch", Warning, remedy, "the log comes from another cluster, database or table: this is a restored dump, or a copy, that the application has not started on since")
	default:
		e.add("epoch", OK, "", "the log is where the application opened it last, and none of its transactions is still to come")
	}
}

// sizes tells how large things are, and whether VACUUM keeps up.
func (e *examination) sizes() {
	var found []struct {
		Name, Size string
		Live, Dead int64
	}
	err := e.db.Raw(`SELECT relname AS name, pg_size_pretty(pg_total_relation_size(relid)) AS size, n_live_tup AS live, n_dead_tup AS dead FROM pg_stat_user_tables WHERE relname IN ? AND pg_table_is_visible(relid) ORDER BY relname`, e.logTables()).Scan(&found).Error
	if err != nil {
		e.failed("sizes", err)
		return
	}
	for _, t := range found {
		const few = 10_000
		if t.Dead > few && t.Dead > t.Live {
			e.add("sizes", Warning, fmt.Sprintf("VACUUM (ANALYZE) %s; if it does not help, an old transaction holds it up", pq.QuoteIdentifier(t.Name)), "%s has %d dead rows beside %d live ones (%s)", t.Name, t.Dead, t.Live, t.Size)
			continue
		}
		var rows int64 // the server's estimate counts those of a copy twice for a while
		if err := e.db.Raw("SELECT count(*) FROM (SELECT 1 FROM "+pq.QuoteIdentifier(t.Name)+" LIMIT ?) x", few+1).Scan(&rows).Error; err != nil {
			e.failed("sizes", err)
			return
		}
		about := ""
		if rows > few {
			about, rows = "about ", max(rows, t.Live)
		}
		e.add("sizes", OK, "", "%s: %s%d rows, %s with its indexes", t.Name, about, rows, t.Size)
	}
}
