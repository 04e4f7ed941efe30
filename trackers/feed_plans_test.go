package trackers_test

import (
	"flag"
	"fmt"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

var planRows = flag.Int("plans.rows", 50_000, "how long the log of TestPlans is")

// TestPlans: no read goes through the whole log. After a bulk load PostgreSQL does
// not know yet how long it is; the fields are found by their ids even then.
func TestPlans(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		f := feedPruned(t, d, 5)
		planFill(t, f)
		planFields(t, f)
		require.NoError(t, f.plain.Exec("ANALYZE").Error)
		planCheck(t, f)
		planFields(t, f)
	})
}

// planFill loads a long log of twenty entities, of old transactions on PostgreSQL.
func planFill(t *testing.T, f fixture) {
	t.Helper()
	series, tx := fmt.Sprintf("SELECT g AS i FROM generate_series(1, %d) g", *planRows), "1"
	if f.log.Dialect() == "sqlite" {
		series, tx = fmt.Sprintf("WITH RECURSIVE g (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < %d) SELECT i FROM g", *planRows), "i"
	}
	const at = "'2020-01-01 00:00:00+00:00'"
	for _, sql := range []string{
		`INSERT INTO "_rhtmx_sync_log" (version, entity, entity_id, action, data, created_at, edited_at, tx, scope)
SELECT i, CASE i % 20 WHEN 0 THEN 'feed_items' WHEN 1 THEN 'feed_tasks' ELSE 'others' || (i % 20) END, CAST(i % 1000 AS text), 'update', '{"n":1}', ` + at + `, ` + at + `, ` + tx + `,
 CASE WHEN i % 20 = 1 THEN CASE WHEN i % 40 = 1 THEN 'red' ELSE 'blue' END END FROM (` + series + `) s`,
		`INSERT INTO "_rhtmx_field_sync_log" (id, version, entity, entity_id, field, value, action, timestamp, tx)
SELECT id << 11, id, entity, entity_id, 'n', '1', 'update', created_at, tx FROM "_rhtmx_sync_log"`,
	} {
		require.NoError(t, f.plain.Exec(sql).Error)
	}
	for id := range int64(40) {
		require.NoError(t, feedUpsertItem(f.db, id))
	}
}

func planCheck(t *testing.T, f fixture) {
	t.Helper()
	end, err := f.log.Position(t.Context())
	require.NoError(t, err)
	behind := end
	behind.From.Xmax -= 30
	if f.log.Dialect() == "postgres" {
		behind.From.Xip = []uint64{behind.From.Xmax - 1}
	}
	batch := behind
	batch.Batch = &models.Batch{To: end.From, AfterTx: 3, AfterID: 2}
	ofAll := behind
	ofAll.Batch = &models.Batch{To: end.From, AfterTx: 3, AfterID: 2, Of: f.log.Changes().OfAll()}
	scoped := []trackers.Filter{{Entity: feedTasks, Scopes: []string{"red", "blue"}}}
	for name, filters := range map[string][]trackers.Filter{"everything": nil, "an entity": feedAll(feedItems), "scopes": scoped, "several": append(feedAll(feedItems), scoped...)} {
		for place, c := range map[string]models.Cursor{"caught up": end, "behind": behind, "in a batch": batch, "in a batch of all": ofAll} {
			plan, err := f.log.Changes().ExplainRead(t.Context(), filters, c, 1000)
			require.NoError(t, err)
			planIsShort(t, plan, name+", "+place)
		}
	}
}

func planFields(t *testing.T, f fixture) {
	t.Helper()
	plan, err := f.log.Fields().ExplainFields(t.Context(), "[17,18,40000]")
	require.NoError(t, err)
	planIsShort(t, plan, "fields")
}

// planIsShort: nothing reads a table or its primary key from end to end. On
// PostgreSQL the new rows are found by their transactions. (What only a standby
// is asked may be read otherwise.)
func planIsShort(t *testing.T, plan, name string) {
	t.Helper()
	for _, pattern := range []string{`Seq Scan on \S+ (c|l|e|f)(_\d+)?\b`, `_pkey on _rhtmx_sync_log c\b`, `SCAN (c|l|e|f)\b`} {
		require.False(t, regexp.MustCompile(pattern).MatchString(plan), "%s: %s\n%s", name, pattern, plan)
	}
}
