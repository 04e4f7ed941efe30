package migrate_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/migrate"
	"github.com/rhtmx/gormsync/trackers"
)

// halfCopied gives a source and a target on which a copy was cut off amid the pairs.
func halfCopied(t *testing.T) (src, dst *gorm.DB) {
	t.Helper()
	src, dst = dbtest.SQLite(t).Open(t), dbtest.Postgres(t).Open(t)
	require.NoError(t, src.AutoMigrate(&Kinds{}, &Pair{}))
	copyLog(t, src)
	require.NoError(t, src.Create(kindsRows()).Error)
	require.NoError(t, src.Create([]Pair{{"a", 1, "x"}, {"b", 2, "y"}}).Error)
	ctx, cut := context.WithCancel(t.Context())
	defer cut()
	copier := migrate.Copier{Batch: 1, Progress: func(p migrate.CopyProgress) {
		if p.Table == "pairs" && p.Done == 1 {
			cut()
		}
	}}
	_, err := copier.Copy(ctx, src, dst, &Kinds{}, &Pair{})
	require.ErrorIs(t, err, context.Canceled)
	var n int64
	require.NoError(t, dst.Model(&Pair{}).Count(&n).Error)
	require.EqualValues(t, 1, n)
	return src, dst
}

// A half-copied database would pass for a whole one. An application refuses it, and
// what it did to the tables before is no obstacle to the end of the copy.
func TestUnfinishedCopy(t *testing.T) {
	t.Parallel()
	for name, copier := range map[string]migrate.Copier{"finished": {Batch: 1}, "restarted": {Restart: true}} {
		t.Run(name, func(t *testing.T) {
			src, dst := halfCopied(t)
			copying, err := migrate.Copying(t.Context(), dst, "")
			require.NoError(t, err)
			require.True(t, copying)
			require.NoError(t, dst.AutoMigrate(&Kinds{}, &Pair{}), "the application starts, and puts the foreign keys back")
			_, err = trackers.NewLog(t.Context(), dst, trackers.Config{Entities: []trackers.Entity{{Model: &Kinds{}}}})
			require.ErrorContains(t, err, "a copy into this database is not complete")
			require.ErrorContains(t, err, "gormsync copy")
			require.NoError(t, migrate.Down(t.Context(), dst, "")) // nor does it become whole by that
			require.NoError(t, migrate.Up(t.Context(), dst, ""))
			copying, err = migrate.Copying(t.Context(), dst, "")
			require.NoError(t, err)
			require.True(t, copying)

			again := copier
			again.Progress = func(p migrate.CopyProgress) {
				if p.Step == "check" { // once more, amid the copy
					require.NoError(t, dst.AutoMigrate(&Kinds{}, &Pair{}))
				}
			}
			report, err := again.Copy(t.Context(), src, dst, &Kinds{}, &Pair{})
			require.NoError(t, err)
			require.EqualValues(t, 3, report.Tables[0].Rows)
			copying, err = migrate.Copying(t.Context(), dst, "")
			require.NoError(t, err)
			require.False(t, copying)
			copyLog(t, dst)
			missing := uint(12345)
			require.ErrorContains(t, dst.Create(&Kinds{UUID: "00000000-0000-0000-0000-000000000000", Member: `1`, Price: "1", ParentID: &missing}).Error, "foreign key")
		})
	}
	none, err := migrate.Copying(t.Context(), dbtest.SQLite(t).Open(t), "")
	require.NoError(t, err)
	require.False(t, none)
}
