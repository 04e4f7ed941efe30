package trackers

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"

	"gorm.io/gorm"
)

// ErrStale is what a change gets that WithBase bound to a version, when somebody
// changed the row since. The change is not made.
var ErrStale = errors.New("gormsync: the row was changed since it was read; read it again")

// base binds the changes of one row to a version.
type base struct {
	model   any
	version int64
	others  *base // that were bound before; nil for none
}

// WithBase returns a context whose changes of the model's row are made only if
// version still is the row's newest, as VersionOf gave it; otherwise they fail with
// ErrStale. Only the primary key of the model is read. A row that went is stale as
// well; one that a condition or a trigger left out is not. It may be used again for
// other rows, and for the same row with another version; changes of rows that were
// not named are not bound. Changes that are Untracked are bound too.
func WithBase(ctx context.Context, model any, version int64) context.Context {
	return context.WithValue(ctx, baseKey{}, &base{model, version, baseOf(ctx)})
}

func baseOf(ctx context.Context) *base {
	b, _ := ctx.Value(baseKey{}).(*base)
	return b
}

// VersionOf gives the newest version of the model's row; 0 if it was never logged.
// Only the primary key of the model is read. Ask before you read the row: then a
// change in between makes the version too old and never too new. It returns an
// error when the model is not tracked.
func (l *Log) VersionOf(db *gorm.DB, model any) (int64, error) {
	ctx := db.Statement.Context
	pool := bare(db.Statement.ConnPool)
	p, id, err := l.idOfModel(ctx, pool, db, model)
	if err != nil {
		return 0, err
	}
	return l.newestVersion(ctx, pool, p, id)
}

// idOfModel finds the entity of a model and its row's id.
func (l *Log) idOfModel(ctx context.Context, pool gorm.ConnPool, db *gorm.DB, model any) (*plan, string, error) {
	rv := reflect.Indirect(reflect.ValueOf(model))
	if rv.Kind() != reflect.Struct {
		return nil, "", fmt.Errorf("gormsync: %T is no model; give a pointer to one, such as &todo", model)
	}
	stmt := &gorm.Statement{DB: db}
	if err := stmt.Parse(model); err != nil {
		return nil, "", fmt.Errorf("gormsync: GORM cannot use %T: %w", model, err)
	}
	t := l.byTable[l.tableKey(stmt.Schema.Table)]
	if t == nil {
		return nil, "", fmt.Errorf("gormsync: the model %T is not tracked; name it in Config.Entities", model)
	}
	p, err := l.planOf(ctx, pool, t)
	if err != nil {
		return nil, "", err
	}
	id, err := p.idOf(ctx, rv)
	return p, id, err
}

func (l *Log) newestVersion(ctx context.Context, pool gorm.ConnPool, p *plan, id string) (int64, error) {
	q := &query{dialect: l.dialect}
	q.write("SELECT max(id) FROM ", l.quote(l.tables.Changes), " WHERE entity = ", q.arg(p.entity.Name), " AND entity_id = ", q.arg(id))
	var version sql.NullInt64
	if err := pool.QueryRowContext(ctx, q.sql.String(), l.unprepared(q.args...)...).Scan(&version); err != nil {
		return 0, fmt.Errorf("gormsync: reading %s: %w", l.tables.Changes, err)
	}
	return version.Int64, nil
}

// fresh returns ErrStale when the statement changed a row that its context binds to
// another version, or was to change that row and found it gone or changed. It runs before the
// statement is logged, while the changed rows are locked.
func (l *Log) fresh(pool gorm.ConnPool, db *gorm.DB, b *batch) error {
	if b == nil {
		return nil
	}
	bound, p, err := l.boundOf(pool, db, b.entity)
	if err != nil || len(bound) == 0 {
		return err
	}
	ctx := db.Statement.Context
	for id, version := range bound {
		if db.RowsAffected > 0 || !p.isRow(ctx, db.Statement.ReflectValue, id) {
			continue
		}
		switch remains, err := l.remains(ctx, pool, db, p, id, version); {
		case err != nil:
			return err
		case !remains:
			return stale(pool, b.entity, id)
		}
	}
	return b.chunks(func(rows []logRow) error {
		for i := range rows {
			version, is := bound[rows[i].id]
			if !is {
				continue
			}
			newest, err := l.newestVersion(ctx, bare(pool), p, rows[i].id)
			if err != nil {
				return err
			}
			if newest != version {
				return stale(pool, b.entity, rows[i].id)
			}
		}
		return nil
	})
}

// remains tells whether a row that a statement did not match is there as it was: then a
// condition of the statement or a trigger left it out.
func (l *Log) remains(ctx context.Context, pool gorm.ConnPool, db *gorm.DB, p *plan, id string, version int64) (bool, error) {
	keys, id, err := p.entityKey(ctx, id)
	if err != nil { // no row can have this id
		return false, nil //nolint:nilerr // so it is not there
	}
	found, err := l.lockRows(ctx, bare(pool), p, []target{{key: keys, id: id}})
	if err != nil || found[id] == nil || (p.gone(found[id]) && !db.Statement.Unscoped) {
		return false, err
	}
	newest, err := l.newestVersion(ctx, bare(pool), p, id)
	return newest == version, err
}

// boundOf gives the rows of an entity that a statement's context binds, with their
// versions by id.
func (l *Log) boundOf(pool gorm.ConnPool, db *gorm.DB, t *Tracked) (map[string]int64, *plan, error) {
	ctx := db.Statement.Context
	var bound map[string]int64
	var of *plan
	for b := baseOf(ctx); b != nil; b = b.others {
		p, id, err := l.idOfModel(ctx, bare(pool), db, b.model)
		if err != nil {
			return nil, nil, err
		}
		if p.entity != t {
			continue
		}
		if of = p; bound == nil {
			bound = map[string]int64{}
		}
		if _, again := bound[id]; !again { // the last one counts
			bound[id] = b.version
		}
	}
	return bound, of, nil
}

// stale is ErrStale of a row that may be changed already: its transaction must not be
// committed.
func stale(pool gorm.ConnPool, t *Tracked, id string) error {
	err := fmt.Errorf("%w (%s %q)", ErrStale, t.Name, id)
	if tx := watchedTxOf(pool); tx != nil {
		tx.doom(err)
	}
	return err
}

// isRow tells whether a statement's model is the row with that id.
func (p *plan) isRow(ctx context.Context, rv reflect.Value, id string) bool {
	if rv.Kind() != reflect.Struct || rv.Type() != p.entity.Schema.ModelType {
		return false
	}
	own, err := p.idOf(ctx, rv)
	return err == nil && own == id
}
