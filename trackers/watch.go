package trackers

import (
	"context"
	"database/sql"
	"errors"
	"sync"

	"gorm.io/gorm"
)

// watchedPool stands in for the *sql.DB of a *gorm.DB (or whatever else it has),
// so that gormsync sees transactions end. It is comparable, because dbresolver
// uses pools as map keys.
type watchedPool struct {
	gorm.ConnPool
	log *Log
}

var (
	_ gorm.ConnPoolBeginner = (*watchedPool)(nil)
	_ gorm.GetDBConnector   = (*watchedPool)(nil)
	_ gorm.Tx               = (*watchedTx)(nil)
	_ gorm.GetDBConnector   = (*watchedTx)(nil)
)

// BeginTx implements gorm.ConnPoolBeginner.
func (p *watchedPool) BeginTx(ctx context.Context, opts *sql.TxOptions) (gorm.ConnPool, error) {
	var (
		inner gorm.ConnPool
		err   error
	)
	switch b := p.ConnPool.(type) {
	case gorm.TxBeginner:
		var tx *sql.Tx
		if tx, err = b.BeginTx(ctx, opts); err == nil {
			inner = tx
		}
	case gorm.ConnPoolBeginner:
		inner, err = b.BeginTx(ctx, opts)
	default:
		err = gorm.ErrInvalidTransaction
	}
	if err != nil {
		return nil, err
	}
	tx, ok := inner.(gorm.Tx)
	if !ok { // somebody else's kind of transaction; the poll finds its changes
		return inner, nil
	}
	return &watchedTx{Tx: tx, pool: p, frames: []frame{{}}}, nil
}

// GetDBConn implements gorm.GetDBConnector, so that db.DB() goes on working.
func (p *watchedPool) GetDBConn() (*sql.DB, error) {
	switch v := p.ConnPool.(type) {
	case *sql.DB:
		return v, nil
	case gorm.GetDBConnector:
		return v.GetDBConn()
	}
	return nil, gorm.ErrInvalidDB
}

// Ping is what gorm.Open looks for.
func (p *watchedPool) Ping() error {
	if v, ok := p.ConnPool.(interface{ Ping() error }); ok {
		return v.Ping()
	}
	return nil
}

// frame is what happened since a savepoint.
type frame struct {
	name   string
	rows   int   // log rows written
	doomed error // a change that could not be logged
}

// watchedTx stands in for a *sql.Tx.
type watchedTx struct {
	gorm.Tx
	pool   *watchedPool
	mu     sync.Mutex
	frames []frame // the transaction itself, then its savepoints
	first  int64   // SQLite: the id of the transaction's first log row
	ddl    bool    // a table may have changed its columns
}

// GetDBConn implements gorm.GetDBConnector.
func (t *watchedTx) GetDBConn() (*sql.DB, error) { return t.pool.GetDBConn() }

// Commit rings after a commit that wrote log rows. A transaction whose log could
// not be written is rolled back: SQLite would let it commit unlogged.
func (t *watchedTx) Commit() error {
	t.mu.Lock()
	rows, doomed := 0, error(nil)
	for _, f := range t.frames {
		rows += f.rows
		doomed = errors.Join(doomed, f.doomed)
	}
	t.mu.Unlock()
	if doomed != nil {
		return errors.Join(doomed, t.Tx.Rollback())
	}
	err := t.Tx.Commit()
	if t.hasChangedTables() { // others may have read the old columns meanwhile
		t.pool.log.plans.Clear()
	}
	if err == nil && rows > 0 {
		t.pool.log.ring()
	}
	return err
}

// Rollback forgets what was learnt of tables that the transaction had changed.
func (t *watchedTx) Rollback() error {
	err := t.Tx.Rollback()
	if t.hasChangedTables() {
		t.pool.log.plans.Clear()
	}
	return err
}

func (t *watchedTx) wrote(rows int) {
	t.mu.Lock()
	t.frames[len(t.frames)-1].rows += rows
	t.mu.Unlock()
}

func (t *watchedTx) changedTables() {
	t.mu.Lock()
	t.ddl = true
	t.mu.Unlock()
}

func (t *watchedTx) hasChangedTables() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ddl
}

func (t *watchedTx) doom(err error) {
	t.mu.Lock()
	f := &t.frames[len(t.frames)-1]
	f.doomed = errors.Join(f.doomed, err)
	t.mu.Unlock()
}

// hasWritten reports whether the transaction has log rows, and so on SQLite the
// write lock.
func (t *watchedTx) hasWritten() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.first > 0
}

// firstID is the id of the transaction's first log row as an argument; NULL if
// there is none yet, or nobody watches the transaction.
func (t *watchedTx) firstID() any {
	if t == nil || !t.hasWritten() {
		return nil
	}
	return t.began(0)
}

// began gives the id of the transaction's first log row, which is next if there
// was none before.
func (t *watchedTx) began(next int64) int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.first == 0 {
		t.first = next
	}
	return t.first
}

// install puts the watch under db: below GORM's prepared-statement layer if
// there is one, because SavePoint, RollbackTo and the migrator look for that type.
func (l *Log) install(db *gorm.DB) {
	if prepared, ok := db.Config.ConnPool.(*gorm.PreparedStmtDB); ok {
		prepared.ConnPool = l.watched(prepared.ConnPool)
		return
	}
	db.Config.ConnPool = l.watched(db.Config.ConnPool)
	if db.Statement != nil {
		db.Statement.ConnPool = db.Config.ConnPool
	}
}

// watched gives the one watch of a pool.
func (l *Log) watched(pool gorm.ConnPool) gorm.ConnPool {
	switch pool.(type) {
	case *watchedPool, gorm.TxCommitter:
		return pool
	}
	w, _ := l.pools.LoadOrStore(pool, &watchedPool{ConnPool: pool, log: l})
	return w.(*watchedPool)
}

// watchStatement watches connections that install did not reach: those of
// db.Connection and of dbresolver.
func (l *Log) watchStatement(db *gorm.DB) {
	db.Statement.ConnPool = l.watchedBelow(db.Statement.ConnPool)
}

// watchedBelow watches the pool below GORM's prepared-statement layers, of which
// there may be several.
func (l *Log) watchedBelow(pool gorm.ConnPool) gorm.ConnPool {
	switch v := pool.(type) {
	case *gorm.PreparedStmtDB:
		inner := l.watchedBelow(v.ConnPool)
		if inner == v.ConnPool {
			return v
		}
		return &gorm.PreparedStmtDB{Stmts: v.Stmts, Mux: v.Mux, ConnPool: inner}
	case *sql.Conn: // short-lived, so not kept
		return &watchedPool{ConnPool: v, log: l}
	case *sql.DB:
		return l.watched(v)
	}
	return pool
}

// unwrap takes one layer off a transaction; nil at the innermost.
func unwrap(pool gorm.ConnPool) gorm.ConnPool {
	switch v := pool.(type) {
	case *watchedTx:
		return v.Tx
	case *gorm.PreparedStmtTX:
		return v.Tx
	case *intercept:
		return v.ConnPool
	}
	return nil
}

// watchedTxOf finds the watched transaction in the layers; nil if there is none.
func watchedTxOf(pool gorm.ConnPool) *watchedTx {
	for ; pool != nil; pool = unwrap(pool) {
		if t, ok := pool.(*watchedTx); ok {
			return t
		}
	}
	return nil
}

// SQLTx gives the *sql.Tx of a GORM transaction, for code that asserts that type.
// It says false outside a transaction.
func SQLTx(db *gorm.DB) (*sql.Tx, bool) {
	for pool := db.Statement.ConnPool; pool != nil; pool = unwrap(pool) {
		if tx, ok := pool.(*sql.Tx); ok {
			return tx, true
		}
	}
	return nil, false
}

// bare takes GORM's prepared-statement layers off, so that gormsync's own
// statements do not fill the application's cache.
func bare(pool gorm.ConnPool) gorm.ConnPool {
	for {
		v, ok := pool.(*gorm.PreparedStmtTX)
		if !ok {
			return pool
		}
		pool = v.Tx
	}
}
