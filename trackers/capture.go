package trackers

import (
	"errors"
	"fmt"

	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/models"
)

// Capture records every create, update and delete that goes through db. It may
// be called for several *gorm.DB of one application, and again for the same.
func (l *Log) Capture(db *gorm.DB) error {
	if !l.cfg.NoWrap {
		l.install(db)
	}
	l.writer.CompareAndSwap(nil, db.Session(&gorm.Session{NewDB: true}))
	cb := db.Callback()
	if _, again := l.hooked.LoadOrStore(cb, true); again {
		return nil
	}
	var errs []error
	for _, k := range []struct {
		action    models.Action
		processor interface {
			Get(string) func(*gorm.DB)
			Replace(string, func(*gorm.DB)) error
		}
		early interface {
			Register(string, func(*gorm.DB)) error
		}
	}{
		{models.Create, cb.Create(), cb.Create().Before("gorm:begin_transaction")},
		{models.Update, cb.Update(), cb.Update().Before("gorm:begin_transaction")},
		{models.Delete, cb.Delete(), cb.Delete().Before("gorm:begin_transaction")},
	} {
		name := "gorm:" + string(k.action)
		core := k.processor.Get(name)
		if core == nil {
			errs = append(errs, fmt.Errorf("gormsync: GORM has no callback %s; register gormsync on a *gorm.DB that gorm.Open made", name))
			continue
		}
		errs = append(errs, k.processor.Replace(name, l.around(k.action, core)))
		// With SkipDefaultTransaction for all there is no gorm:begin_transaction,
		// and what is registered before it ends up last; around wraps anyway.
		if !l.cfg.NoWrap && !db.SkipDefaultTransaction {
			errs = append(errs, k.early.Register("gormsync:watch", l.watchStatement))
		}
	}
	return errors.Join(append(errs, l.hookRaw(db))...)
}

// around puts itself around GORM's own step. While that step runs, the
// statement's ConnPool is an intercept: at Exec time the SQL is final, and none
// of GORM's rules for keys, soft deletes, Select and Omit has to be written again.
func (l *Log) around(action models.Action, core func(*gorm.DB)) func(*gorm.DB) {
	return func(db *gorm.DB) {
		entity := l.tracked(db.Statement)
		unlogged := untracked(db.Statement.Context)
		if entity == nil || db.Error != nil || db.DryRun || (unlogged && baseOf(db.Statement.Context) == nil) {
			core(db)
			return
		}
		stmt := db.Statement
		saved := stmt.ConnPool
		defer func() { stmt.ConnPool = saved }()
		if !l.cfg.NoWrap {
			l.watchStatement(db)
		}
		l.inTransaction(db, func(pool gorm.ConnPool) {
			ic := &intercept{ConnPool: pool, log: l, db: db, action: action, entity: entity}
			stmt.ConnPool = ic
			by := pushedOf(stmt.Context)
			by.narrow(stmt)
			unchanged := by.widen(stmt)
			core(db)
			stmt.Schema = unchanged
			if db.Error != nil && by != nil {
				db.Error = &statementError{db.Error}
			}
			by.heard(db, ic.done)
			if db.Error == nil {
				_ = db.AddError(l.fresh(pool, db, ic.changes))
			}
			if db.Error == nil && !unlogged {
				_ = db.AddError(l.record(pool, db, ic.changes))
			}
			if ic.changes != nil {
				_ = db.AddError(ic.changes.file.remove())
			}
		})
	}
}

// inTransaction runs fn with the statement's transaction. Where there is none
// (SkipDefaultTransaction) it opens one around the statement and its log rows.
func (l *Log) inTransaction(db *gorm.DB, fn func(gorm.ConnPool)) {
	pool := db.Statement.ConnPool
	if _, ok := pool.(gorm.TxCommitter); ok {
		fn(pool)
		return
	}
	begun := db.Session(&gorm.Session{NewDB: true, Context: db.Statement.Context}).Begin()
	if begun.Error != nil {
		_ = db.AddError(begun.Error)
		return
	}
	tx := begun.Statement.ConnPool.(gorm.TxCommitter)
	done := false
	defer func() {
		if !done { // an error, or a panic on its way up
			_ = tx.Rollback()
		}
	}()
	fn(begun.Statement.ConnPool)
	if db.Error == nil {
		done = true
		_ = db.AddError(tx.Commit())
	}
}

// record writes the changes of one statement to the logs, in its transaction.
func (l *Log) record(pool gorm.ConnPool, db *gorm.DB, b *batch) error {
	if b == nil || b.count == 0 {
		return nil
	}
	t := watchedTxOf(pool)
	err := l.write(db.Statement.Context, bare(pool), b, t)
	if err != nil {
		err = &logError{fmt.Errorf("gormsync: the change of %s was not made, because %s could not be written: %w", b.entity.Name, l.tables.Changes, err)}
		if t != nil {
			t.doom(err)
		}
		return err
	}
	if t != nil {
		t.wrote(b.count)
	}
	return nil
}
