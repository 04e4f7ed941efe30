package trackers_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

// SnapPart is what the rows have beside their keys.
type SnapPart struct {
	N    int64
	Team string
}

type (
	snapInt struct {
		ID int64 `gorm:"primaryKey;autoIncrement:false"`
		SnapPart
	}
	snapText struct {
		ID string `gorm:"primaryKey"`
		SnapPart
	}
	snapLoose struct {
		ID string `gorm:"primaryKey;type:text"` // with a collation of its own, see snapCollate
		SnapPart
	}
	snapUUID struct {
		ID uuid.UUID `gorm:"primaryKey;type:uuid"`
		SnapPart
	}
	snapUUIDText struct {
		ID string `gorm:"primaryKey;type:uuid"`
		SnapPart
	}
	snapPair struct {
		A string `gorm:"primaryKey"`
		B int64  `gorm:"primaryKey;autoIncrement:false"`
		C bool   `gorm:"primaryKey"`
		SnapPart
	}
	snapTime struct {
		ID time.Time `gorm:"primaryKey"`
		SnapPart
	}
	snapBytes struct {
		ID []byte `gorm:"primaryKey"`
		SnapPart
	}
	snapSoft struct {
		ID        int64 `gorm:"primaryKey;autoIncrement:false"`
		DeletedAt gorm.DeletedAt
		SnapPart
	}
	snapFloat struct {
		ID float64 `gorm:"primaryKey"`
		SnapPart
	}
	snapPointer struct {
		ID *int64 `gorm:"primaryKey;autoIncrement:false"`
		SnapPart
	}
	snapMoment struct { // of few digits, see snapKinds
		ID time.Time `gorm:"primaryKey;type:timestamptz(3)"`
		B  *uint8    `gorm:"primaryKey"`
		SnapPart
	}
)

// snapKind is a table with the rows that it has before it is tracked, and those
// that come later.
type snapKind struct {
	model         any
	before, later []any
}

// snapTexts are keys that collations and encodings put in odd places.
var snapTexts = []string{
	"a", "B", "b", "A", "ä", "Ä", "z", "Z", "a b", "a-b", "ab", "a,b", "a%2Cb", "%", ",", "'", `"`, `\`, "日本", "e\u0301", "é",
	"\U0001F600", "\uFFFD", " ", "  ", "\t", "-", "_", "0", "00", "1", "10", "9", "ß", "ss", "{", "}", "null", "İ", "ı",
}

// snapKinds has rows of every kind of key. of makes a row of a number.
func snapKinds() []snapKind {
	base := time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.FixedZone("", 8*3600))
	kind := func(model any, n int, of func(int) any) snapKind {
		k := snapKind{model: model}
		for i := range n {
			if i%3 == 2 {
				k.later = append(k.later, of(i))
			} else {
				k.before = append(k.before, of(i))
			}
		}
		return k
	}
	return []snapKind{
		kind(&snapInt{}, 12, func(i int) any {
			return &snapInt{ID: []int64{-1 << 63, -5, -1, 1, 2, 9, 10, 11, 1 << 53, 1<<53 + 1, 1<<53 + 2, 1<<63 - 1}[i]}
		}),
		kind(&snapSoft{}, 12, func(i int) any { return &snapSoft{ID: int64(i + 1)} }),
		kind(&snapText{}, len(snapTexts), func(i int) any { return &snapText{ID: snapTexts[i]} }),
		kind(&snapLoose{}, len(snapTexts), func(i int) any { return &snapLoose{ID: fmt.Sprintf("%s %d", snapTexts[i], i)} }),
		kind(&snapUUID{}, 12, func(int) any { return &snapUUID{ID: uuid.New()} }),
		kind(&snapUUIDText{}, 12, func(int) any { return &snapUUIDText{ID: uuid.NewString()} }),
		kind(&snapPair{}, 18, func(i int) any {
			return &snapPair{A: []string{"a", "a,b", "%"}[i%3], B: int64(i/3 - 2), C: i%2 == 0}
		}),
		kind(&snapTime{}, 12, func(i int) any {
			return &snapTime{ID: []time.Time{
				base, base.Add(time.Microsecond), base.UTC().Add(2 * time.Microsecond), base.Add(time.Millisecond), base.Truncate(time.Second),
				base.UTC().Add(time.Hour), base.Add(2 * time.Hour), base.In(time.FixedZone("", -9*3600)).Add(90 * time.Minute),
				base.UTC().Add(-time.Hour), base.Add(30*time.Hour + 123), base.AddDate(-200, 0, 0), base.AddDate(500, 0, 0),
			}[i]}
		}),
		kind(&snapPointer{}, 12, func(i int) any { n := int64(i - 3); return &snapPointer{ID: &n} }),
		kind(&snapMoment{}, 12, func(i int) any {
			b := uint8(i % 2)
			return &snapMoment{ID: base.Truncate(time.Second).Add(time.Duration(i*i*10) * time.Millisecond), B: &b}
		}),
		kind(&snapBytes{}, 12, func(i int) any { return &snapBytes{ID: []byte(strings.Repeat("\x00\xff", i) + string(rune('a'+i)))} }),
		kind(&snapFloat{}, 12, func(i int) any {
			return &snapFloat{ID: []float64{-1e300, -1.5, -0.1, 0.1, 0.2, 0.30000000000000004, 1, 1.5, 2, 1e15, 1e16, 1e300}[i]}
		}),
	}
}

// TestSnapshots: a snapshot in pages and the log from its cursor on give the table,
// whatever happens to the rows meanwhile.
func TestSnapshots(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		kinds := snapKinds()
		db := d.Open(t)
		entities := []trackers.Entity{}
		for _, k := range kinds {
			require.NoError(t, db.AutoMigrate(k.model))
			entities = append(entities, trackers.Entity{Model: k.model, Scope: "team"})
		}
		snapCollate(t, db)
		random := feedRandom(t)
		for i, k := range kinds {
			for _, row := range k.before { // nobody tracks them yet
				require.NoError(t, db.Create(row).Error)
				require.NoError(t, db.Model(row).Update("team", feedTeam(random(uint64(i)))).Error)
			}
		}
		f := attach(t, d, db, trackers.Config{Entities: entities})
		f.unchecked()
		for i, k := range kinds {
			t.Run(fmt.Sprintf("%T", k.model), func(t *testing.T) { snapPaged(t, f, k, random(uint64(100+i))) })
		}
	})
}

// snapCollate gives the loose table's key an order that is not that of bytes.
func snapCollate(t *testing.T, db *gorm.DB) {
	t.Helper()
	if db.Name() == "sqlite" {
		require.NoError(t, db.Migrator().DropTable(&snapLoose{}))
		require.NoError(t, db.Exec("CREATE TABLE snap_looses (id text COLLATE NOCASE PRIMARY KEY, n integer, team text)").Error)
		return
	}
	var icu bool
	require.NoError(t, db.Raw("SELECT EXISTS (SELECT 1 FROM pg_collation WHERE collname = 'und-x-icu')").Scan(&icu).Error)
	if icu {
		require.NoError(t, db.Exec(`ALTER TABLE snap_looses ALTER COLUMN id TYPE text COLLATE "und-x-icu"`).Error)
	}
}

func snapPaged(t *testing.T, f fixture, k snapKind, rnd *rand.Rand) {
	t.Helper()
	stmt := &gorm.Statement{DB: f.db}
	require.NoError(t, stmt.Parse(k.model))
	entity := stmt.Schema.Table
	all := trackers.Filter{Entity: entity, All: true}
	for _, limit := range []int{1000, 1, 3} {
		for _, filter := range []trackers.Filter{all, {Entity: entity, Scopes: []string{"red", "blue"}}} {
			got := snapFollow(t, f, filter, limit, func() { snapDisturb(t, f.db, k, rnd) })
			want := snapFollow(t, f, filter, 1000, func() {})
			require.Equal(t, want, got, "pages of %d, all: %v", limit, filter.All)
			var rows int64
			query := f.plain.Model(k.model)
			if !filter.All {
				query = query.Where("team IN ?", filter.Scopes)
			}
			require.NoError(t, query.Count(&rows).Error)
			require.Len(t, got, int(rows))
		}
	}
}

// snapFollow takes a snapshot in pages, then follows to the end, as a client does.
func snapFollow(t *testing.T, f fixture, filter trackers.Filter, limit int, between func()) map[string]string {
	t.Helper()
	rows, versions, seen := map[string]string{}, map[string]int64{}, map[string]bool{}
	c, pages := models.Cursor{}, 0
	for more := true; more; pages++ {
		require.Less(t, pages, 500, "the pages do not end")
		page, err := f.log.Changes().Snapshot(t.Context(), filter, c, limit)
		require.NoError(t, err)
		if (filter.Entity != "snap_times" && filter.Entity != "snap_moments") || f.db.Name() != "sqlite" { // there a time as key has no order, and comes in one page
			require.LessOrEqual(t, len(page.Entries), limit)
		}
		for _, e := range page.Entries {
			require.Equal(t, models.Create, e.Row.Action)
			require.False(t, seen[e.Row.EntityID], "%q comes twice", e.Row.EntityID)
			seen[e.Row.EntityID] = true
			rows[e.Row.EntityID], versions[e.Row.EntityID] = string(e.Row.Data), e.Row.Version
		}
		c, more = feedText(t, page.Cursor), page.More
		require.Equal(t, more, c.Page != nil)
		between()
	}
	for more := true; more; {
		page, err := f.log.Changes().Read(t.Context(), []trackers.Filter{filter}, c, 4)
		require.NoError(t, err)
		for _, e := range page.Entries {
			id := e.Row.EntityID
			if e.Version <= versions[id] {
				continue
			}
			versions[id], rows[id] = e.Version, string(e.Row.Data)
			if e.Row.Action == models.Delete {
				delete(rows, id)
			}
		}
		c, more = feedText(t, page.Cursor), page.More
	}
	for id := range rows {
		rows[id] = fmt.Sprintf("%d %s", versions[id], rows[id])
	}
	return rows
}

// snapDisturb changes some rows: before, behind and in the page just read.
func snapDisturb(t *testing.T, db *gorm.DB, k snapKind, rnd *rand.Rand) {
	t.Helper()
	rows := append(append([]any{}, k.before...), k.later...)
	for range rnd.IntN(4) {
		row := rows[rnd.IntN(len(rows))]
		var err error
		switch rnd.IntN(6) {
		case 0:
			err = db.Delete(row).Error
		case 1:
			err = db.Clauses(clause.OnConflict{DoNothing: true}).Create(row).Error
		case 2:
			err = db.Model(row).Update("team", feedTeam(rnd)).Error
		case 3:
			if _, soft := row.(*snapSoft); soft {
				err = db.Unscoped().Model(row).Update("deleted_at", nil).Error
			}
		default:
			err = db.Model(row).UpdateColumn("n", gorm.Expr("n + 1")).Error
		}
		require.NoError(t, err)
	}
}

// TestSnapshotEmptyKey: a key may be the empty text, which comes first.
func TestSnapshotEmptyKey(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		f := setup(t, d, []trackers.Entity{{Model: &snapText{}}})
		for _, id := range []string{"", "a", "b"} {
			require.NoError(t, f.db.Create(&snapText{ID: id}).Error)
		}
		require.Len(t, snapFollow(t, f, trackers.Filter{Entity: "snap_texts", All: true}, 1, func() {}), 3)
	})
}

// TestSnapshotCursor: the cursor of a snapshot is refused by another database, and
// what is no key of the table is no crash.
func TestSnapshotCursor(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		f := feedSetup(t, d, 5)
		for i := range int64(5) {
			require.NoError(t, f.db.Create(&feedItem{ID: i + 1, N: 1}).Error)
		}
		items := feedAll(feedItems)[0]
		page, err := f.log.Changes().Snapshot(t.Context(), items, models.Cursor{}, 2)
		require.NoError(t, err)
		c := page.Cursor
		for _, after := range []string{"x", "1,2", "%", "99999999999999999999"} {
			c.Page = &models.Page{After: after}
			_, err = f.log.Changes().Snapshot(t.Context(), items, c, 2)
			require.ErrorIs(t, err, models.ErrBadID, "after %q", after)
		}
		c.Page, c.Epoch = page.Cursor.Page, c.Epoch+1
		_, err = f.log.Changes().Snapshot(t.Context(), items, c, 2)
		require.ErrorIs(t, err, models.ErrCursorExpired)
		_, err = f.log.Changes().Snapshot(t.Context(), trackers.Filter{Entity: "nothing", All: true}, models.Cursor{}, 2)
		require.ErrorContains(t, err, "nothing")
	})
}
