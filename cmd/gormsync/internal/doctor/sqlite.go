package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
)

func (e *examination) sqlite() ([]Finding, error) {
	var version, journal, file string
	if err := e.db.Raw("SELECT sqlite_version()").Scan(&version).Error; err != nil {
		return nil, fmt.Errorf("the database does not answer: %w", err)
	}
	if err := errors.Join(e.db.Raw("PRAGMA journal_mode").Scan(&journal).Error, e.db.Raw("SELECT file FROM pragma_database_list WHERE name = 'main'").Scan(&file).Error); err != nil {
		return nil, fmt.Errorf("the database does not answer: %w", err)
	}
	e.add("server", OK, "", "SQLite %s, %s", version, file)
	e.journal(journal, file)
	e.writing()
	var missing []string
	for _, name := range e.logTables() {
		if !e.db.Migrator().HasTable(name) {
			missing = append(missing, name)
		}
	}
	if e.absent(missing) || !e.schema() {
		return e.findings, nil
	}
	e.counter()
	if e.epoch() {
		e.add("epoch", OK, "", "there is one")
	}
	e.bells(nil)
	e.sqliteSizes(file)
	return e.findings, nil
}

func (e *examination) journal(mode, file string) {
	const large = 64 << 20
	wal, err := os.Stat(file + "-wal")
	switch {
	case !strings.EqualFold(mode, "wal"):
		e.add("journal", Warning, "PRAGMA journal_mode = WAL, once; gormsync.Open does it by itself", "the journal is %q, so readers and the writer wait for each other", mode)
	case err == nil && wal.Size() > large:
		e.add("journal", Warning, "end the connection that has been reading for long, then PRAGMA wal_checkpoint(TRUNCATE)", "the write-ahead log has grown to %d MiB", wal.Size()>>20)
	default:
		e.add("journal", OK, "", "write-ahead log")
	}
}

// writing takes the write lock for a moment, as every writer must.
func (e *examination) writing() {
	pool, err := e.db.DB()
	if err != nil {
		e.failed("writing", err)
		return
	}
	conn, err := pool.Conn(e.ctx)
	if err != nil {
		e.failed("writing", err)
		return
	}
	defer func() { _ = conn.Close() }() // it goes back to the pool
	if _, err := conn.ExecContext(e.ctx, "BEGIN IMMEDIATE"); err != nil {
		e.add("writing", Error, "find the process that has been writing all the while, and end its transaction", "nobody can write at present: %v", err)
		return
	}
	_, readOnly := conn.ExecContext(e.ctx, "CREATE TABLE gormsync_doctor (i int)") // only this tells of a file that one may not write to
	if _, err := conn.ExecContext(context.WithoutCancel(e.ctx), "ROLLBACK"); err != nil {
		e.failed("writing", err)
		return
	}
	if readOnly != nil {
		e.add("writing", Error, "let the user of the application write to the file and to its folder, and run this as that user", "this user may read the file and not write to it: %v", readOnly)
		return
	}
	e.add("writing", OK, "", "the write lock is free")
}

// counter looks at where versions come from.
func (e *examination) counter() {
	var behind int64
	err := e.db.Raw(fmt.Sprintf("SELECT coalesce((SELECT max(id) FROM %q), 0) - coalesce((SELECT max(seq) FROM sqlite_sequence WHERE name = ?), 0)", e.tables.Changes), e.tables.Changes).Scan(&behind).Error
	switch {
	case err != nil:
		e.failed("sequence", err)
	case behind > 0:
		e.add("sequence", Error, fmt.Sprintf("UPDATE sqlite_sequence SET seq = (SELECT max(id) FROM %q) WHERE name = '%s'", e.tables.Changes, e.tables.Changes), "the counter of %s is %d behind its rows, so writes fail", e.tables.Changes, behind)
	default:
		e.add("sequence", OK, "", "ahead of the log")
	}
}

func (e *examination) sqliteSizes(file string) {
	var rows int64
	if err := e.db.Table(e.tables.Changes).Count(&rows).Error; err != nil {
		e.failed("sizes", err)
		return
	}
	size := int64(0)
	if info, err := os.Stat(file); err == nil {
		size = info.Size()
	}
	e.add("sizes", OK, "", "%s: %d rows; the file: %d KiB", e.tables.Changes, rows, size>>10)
}
