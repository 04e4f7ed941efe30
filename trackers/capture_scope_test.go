package trackers_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

// task belongs to a team, or to none.
type task struct {
	ID        int64 `gorm:"primaryKey"`
	Title     string
	Team      *string
	DeletedAt gorm.DeletedAt
}

var tasks = trackers.Entity{Model: &task{}, FieldLog: true, Scope: "team"}

// scopes gives the newest changes as "action@scope"; strict has checked that the
// field log says the same.
func (f fixture) scopes(t *testing.T, since int64) []string {
	t.Helper()
	list := []string{}
	for _, c := range f.changeRows(t) {
		if c.ID > since {
			scope := "-"
			if c.Scope != nil {
				scope = *c.Scope
			}
			list = append(list, fmt.Sprintf("%s%s %s@%s", c.Move, c.Action, c.EntityID, scope))
		}
	}
	return list
}

func taskLine(action, id, title, team, fields string) string {
	return `tasks ` + action + ` ` + id + ` {"deleted_at":null,"id":` + id + `,"team":` + team + `,"title":"` + title + `"} | ` + fields
}

// A row that changes its scope leaves the one and enters the other; each has the
// whole of the row in the field log.
func TestCaptureScopes(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		newTwins(t, d, []trackers.Entity{tasks}, gorm.Config{}).run(t, []step{
			{name: "create", do: func(db *gorm.DB) any { return saw(db.Create(&[]task{{Title: "a", Team: ptr("x")}, {Title: "b"}})) },
				want: []string{taskLine("create", "1", "a", `"x"`, "team title"), taskLine("create", "2", "b", "null", "title")}},
			{name: "stays", do: func(db *gorm.DB) any {
				return saw(db.Model(&task{ID: 1}).Updates(map[string]any{"team": "x", "title": "aa"}))
			},
				want: []string{taskLine("update", "1", "aa", `"x"`, "title")}},
			{name: "moves", do: func(db *gorm.DB) any { return saw(db.Model(&task{ID: 1}).Update("team", "y")) },
				want: []string{"tasks leave 1 null | -team -title", taskLine("enter", "1", "aa", `"y"`, "team title")}},
			{name: "moves and changes", do: func(db *gorm.DB) any { return saw(db.Save(&task{ID: 1, Title: "c", Team: ptr("x,%")})) },
				want: []string{"tasks leave 1 null | -team -title", taskLine("enter", "1", "c", `"x,%"`, "team title")}},
			{name: "out of any", do: func(db *gorm.DB) any { return saw(db.Model(&task{ID: 1}).Update("team", nil)) },
				want: []string{"tasks leave 1 null | -team -title", taskLine("enter", "1", "c", "null", "title")}},
			{name: "from none", do: func(db *gorm.DB) any { return saw(db.Model(&task{ID: 2}).Update("team", "")) },
				want: []string{"tasks leave 2 null | -title", taskLine("enter", "2", "b", `""`, "team title")}},
			{name: "bulk", do: func(db *gorm.DB) any { return saw(db.Model(&task{}).Where("id < 9").UpdateColumn("team", "z")) }, unordered: true, want: []string{
				"tasks leave 1 null | -title", taskLine("enter", "1", "c", `"z"`, "team title"),
				"tasks leave 2 null | -team -title", taskLine("enter", "2", "b", `"z"`, "team title"),
			}},
			{name: "upsert", do: func(db *gorm.DB) any {
				return saw(db.Clauses(clause.OnConflict{Columns: columns("id"), DoUpdates: clause.AssignmentColumns([]string{"team"})}).Create(&[]task{{ID: 1, Team: ptr("u")}, {ID: 7, Team: ptr("v")}}))
			}, want: []string{"tasks leave 1 null | -team -title", taskLine("enter", "1", "c", `"u"`, "team title"), taskLine("create", "7", "", `"v"`, "team title")}},
			{name: "new key and scope", do: func(db *gorm.DB) any {
				return saw(db.Model(&task{ID: 7}).Updates(map[string]any{"id": 8, "team": "w"}))
			},
				want: []string{"tasks delete 7 null | -team -title", taskLine("create", "8", "", `"w"`, "team title")}},
			{name: "soft delete", do: func(db *gorm.DB) any { return saw(db.Delete(&task{ID: 8})) }, want: []string{"tasks delete 8 null | -team -title"}},
			{name: "revived elsewhere", do: func(db *gorm.DB) any {
				return saw(db.Unscoped().Model(&task{ID: 8}).Updates(map[string]any{"deleted_at": nil, "team": "x"}))
			}, want: []string{taskLine("create", "8", "", `"x"`, "team title")}},
		})
	})
}

func TestCaptureScopeColumn(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		f := setup(t, d, []trackers.Entity{tasks, {Model: &todo{}, FieldLog: true, Scope: "OwnerID"}, {Model: &place{}, FieldLog: true}})
		require.NoError(t, f.db.Create(&task{Title: "a", Team: ptr(`t"1`)}).Error)
		require.NoError(t, f.db.Model(&task{ID: 1}).Update("team", "t2").Error)
		require.NoError(t, f.db.Delete(&task{ID: 1}).Error)
		require.NoError(t, f.db.Create(&todo{OwnerID: ptr(int64(9007199254740993))}).Error)
		require.NoError(t, f.db.Model(&todo{ID: 1}).Updates(map[string]any{"owner_id": -4, "title": "x"}).Error)
		require.NoError(t, f.db.Create(&place{Code: "p"}).Error)
		require.Equal(t, []string{
			`create 1@t"1`, `leavedelete 1@t"1`, "enterupdate 1@t2", "delete 1@t2",
			"create 1@9007199254740993", "leavedelete 1@9007199254740993", "enterupdate 1@-4", "create p@-",
		}, f.scopes(t, 0))
		rows := f.changeRows(t)
		require.Equal(t, rows[1].Tx, rows[2].Tx, "a move is one transaction")
		require.NotEqual(t, rows[2].Tx, rows[3].Tx)
	})
}

// The field log to the letter.
func TestCaptureFieldRows(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		now := time.Date(2026, 3, 4, 5, 6, 7, 8999, time.UTC)
		f := setup(t, d, []trackers.Entity{tasks}, &gorm.Config{NowFunc: func() time.Time { return now }})
		ctx := trackers.WithClient(trackers.WithActor(context.Background(), "alice"), "tab-1")
		db := f.db.WithContext(ctx)
		require.NoError(t, db.Create(&task{Title: `"q"`, Team: ptr("x")}).Error)
		require.NoError(t, db.Model(&task{ID: 1}).Updates(map[string]any{"title": "b"}).Error)
		require.NoError(t, f.db.Model(&task{ID: 1}).Update("team", nil).Error)
		require.NoError(t, db.Delete(&task{ID: 1}).Error)
		changes, fields := f.changeRows(t), f.fieldRows(t)
		require.Len(t, changes, 5)
		lines := []string{}
		var last int64
		for _, c := range changes {
			require.True(t, c.CreatedAt.Equal(now.Truncate(time.Microsecond)), c.CreatedAt)
			require.True(t, c.EditedAt.Equal(c.CreatedAt))
			require.Empty(t, c.MutationID)
			for _, r := range fields[c.ID] {
				last = max(last, r.ID)
				require.True(t, r.Timestamp.Equal(c.CreatedAt))
				client := "-"
				if r.ClientID != nil {
					client = *r.ClientID
				}
				lines = append(lines, fmt.Sprintf("%d %s %s %s=%s %s %s", r.Version-changes[0].ID, r.Entity, r.EntityID, r.Field, r.Value, r.Actor, client))
			}
		}
		require.Equal(t, []string{
			"0 tasks 1 team=\"x\" alice tab-1", `0 tasks 1 title="\"q\"" alice tab-1`,
			`1 tasks 1 title="b" alice tab-1`,
			"2 tasks 1 team=  -", "2 tasks 1 title=  -",
			`3 tasks 1 title="b"  -`,
			"4 tasks 1 title= alice tab-1",
		}, lines)
		require.GreaterOrEqual(t, last, int64(7))
	})
}

// Who it was travels by the context, whatever kind of call it is.
func TestCaptureActor(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		f := setup(t, d, itemsAndPlaces)
		bg := context.Background()
		alice := f.db.WithContext(trackers.WithActor(bg, "alice"))
		tab := f.db.WithContext(trackers.WithClient(bg, "tab"))
		both := f.db.WithContext(trackers.WithActor(trackers.WithClient(trackers.WithActor(bg, "eve"), "phone"), "bob"))
		require.NoError(t, alice.Create(&item{Name: "a"}).Error)
		require.NoError(t, tab.Model(&item{ID: 1}).Update("name", "b").Error)
		require.NoError(t, both.Transaction(func(tx *gorm.DB) error { return tx.Save(&item{ID: 1, Name: "c"}).Error }))
		require.NoError(t, f.db.Transaction(func(tx *gorm.DB) error {
			if err := tx.WithContext(trackers.WithActor(bg, "carol")).Create(&place{Code: "x"}).Error; err != nil {
				return err
			}
			return tx.Create(&place{Code: "y"}).Error
		}))
		require.NoError(t, gorm.G[place](f.db).Create(trackers.WithActor(bg, "dan"), &place{Code: "z"}))
		require.NoError(t, f.db.Set("actor", "nobody").Delete(&item{ID: 1}).Error)
		who := []string{}
		for _, c := range f.changeRows(t) {
			client := "-"
			if c.ClientID != nil {
				client = *c.ClientID
			}
			who = append(who, c.Actor+" "+client)
		}
		require.Equal(t, []string{"alice -", " tab", "bob phone", "carol -", " -", "dan -", " -"}, who)
	})
}

func TestCaptureUntracked(t *testing.T) {
	t.Parallel()
	eachMode(t, func(m mode) {
		t, d, cfg := m.t, m.d, m.cfg
		f := setup(t, d, itemsAndPlaces, &cfg)
		f.unchecked()
		silent := f.db.WithContext(trackers.Untracked(context.Background()))
		v := item{Name: "a"}
		require.NoError(t, silent.Create(&v).Error)
		require.NoError(t, silent.Model(&v).Update("name", "b").Error)
		require.NoError(t, silent.Save(&item{ID: 5, Name: "c"}).Error)
		require.NoError(t, silent.Transaction(func(tx *gorm.DB) error { return tx.Delete(&v).Error }))
		require.Empty(t, f.take(t))
		require.Empty(t, f.fieldRows(t))
		require.Zero(t, f.rings.Load())
		require.NoError(t, f.db.Transaction(func(tx *gorm.DB) error {
			if err := tx.WithContext(trackers.Untracked(context.Background())).Create(&place{Code: "quiet"}).Error; err != nil {
				return err
			}
			return tx.Create(&place{Code: "heard"}).Error
		}))
		require.Equal(t, []string{placeLine("heard")}, f.take(t))
		require.EqualValues(t, 1, f.rings.Load())
		var kept int64
		require.NoError(t, f.db.Model(&place{}).Count(&kept).Error)
		require.EqualValues(t, 2, kept)
		require.Equal(t, models.Create, f.changeRows(t)[0].Action)
	})
}

// A change does not fail by the name of who made it.
func TestCaptureActorsOutOfText(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		f := setup(t, d, []trackers.Entity{tasks})
		ctx := trackers.WithClient(trackers.WithActor(context.Background(), "ali\x00ce\xff"), "tab\x00")
		require.NoError(t, f.db.WithContext(ctx).Create(&task{Title: "x"}).Error)
		c := f.changeRows(t)[0]
		require.Equal(t, "alice", c.Actor)
		require.Equal(t, ptr("tab"), c.ClientID)
	})
}
