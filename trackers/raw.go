package trackers

import (
	"strings"

	"gorm.io/gorm"
)

// hookRaw watches raw SQL for savepoints, and for changes of the tables' columns.
func (l *Log) hookRaw(core func(*gorm.DB), replace func(string, func(*gorm.DB)) error) error {
	return replace("gorm:raw", func(db *gorm.DB) {
		core(db)
		if db.Error != nil || db.DryRun {
			return
		}
		sql := strings.TrimSpace(db.Statement.SQL.String())
		t := watchedTxOf(db.Statement.ConnPool)
		if t != nil {
			t.savepoint(sql)
		}
		if isDDL(sql) {
			l.plans.Clear()
			if t != nil {
				t.changedTables()
			}
		}
	})
}

func isDDL(sql string) bool {
	for _, word := range []string{"ALTER", "CREATE", "DROP"} {
		if len(sql) > len(word) && strings.EqualFold(sql[:len(word)], word) {
			return true
		}
	}
	return false
}
