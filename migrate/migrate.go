package migrate

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/rhtmx/gormsync/models"
)

// SchemaVersion is the version of the log tables that this package makes. Version
// 2 added the table of mutations, version 3 its column of conflicts.
const SchemaVersion = 3

// Up makes the log tables under the prefix (empty means models.DefaultPrefix),
// or upgrades older ones. Of tables that are of SchemaVersion already it puts back
// what is missing: columns, indexes, defaults, the epoch. It fails when they are of
// a later one.
func Up(ctx context.Context, db *gorm.DB, prefix string) error {
	tables, err := tablesFor(prefix)
	if err != nil {
		return err
	}
	if due, err := plan(ctx, db, tables); err != nil || len(due) == 0 {
		return err
	}
	return locked(ctx, db, tables, func(tx *gorm.DB) error {
		if due, err := plan(ctx, tx, tables); err != nil || len(due) == 0 { // another process may have been first
			return err
		}
		if err := waitForWriters(tx, tables); err != nil {
			return err
		}
		return up(tx, tables)
	})
}

func tablesFor(prefix string) (models.Tables, error) {
	if err := models.CheckPrefix(prefix); err != nil {
		return models.Tables{}, fmt.Errorf("migrate: %w", err)
	}
	return models.TablesFor(prefix), nil
}

func up(tx *gorm.DB, tables models.Tables) error {
	origin, err := findOrigin(tx, tables)
	if err != nil {
		return err
	}
	if err := origin.check(); err != nil {
		return err
	}
	if err := origin.putAside(); err != nil {
		return err
	}
	for _, t := range []struct {
		name  string
		model any
		fresh bool // put aside, so that it is to be made although Plan still finds it
	}{
		{tables.Meta, &models.Meta{}, false},
		{tables.Changes, &models.Change{}, origin.changes != ""},
		{tables.Fields, &models.FieldChange{}, origin.fields != ""},
		{tables.Mutations, &models.Mutation{}, false},
	} {
		if err := makeTable(tx, t.name, t.model, t.fresh); err != nil {
			return fmt.Errorf("migrate: making the table %s: %w", t.name, err)
		}
	}
	if origin.found() {
		if err := origin.move(); err != nil {
			return err
		}
	}
	statements, err := missing(tx, tables)
	if err != nil {
		return err
	}
	for _, sql := range statements {
		if err := tx.Exec(sql).Error; err != nil {
			return fmt.Errorf("migrate: %s: %w", sql, err)
		}
	}
	return writeFacts(tx, tables)
}

// makeTable makes a table, or adds the columns that it lacks. AutoMigrate makes it,
// but looks at no table that is there: each time it would take away the default
// that beyond gives.
func makeTable(tx *gorm.DB, name string, model any, fresh bool) error {
	columns, err := columnsOf(tx, name)
	if err != nil {
		return err
	}
	table := tx.Table(name)
	switch {
	case fresh:
		return table.Migrator().CreateTable(model)
	case len(columns) == 0:
		return table.AutoMigrate(model)
	}
	stmt := &gorm.Statement{DB: tx}
	if err := stmt.Parse(model); err != nil {
		return err
	}
	for _, column := range stmt.Schema.DBNames {
		if columns[column] {
			continue
		}
		if err := tx.Table(name).Migrator().AddColumn(model, column); err != nil {
			return fmt.Errorf("adding the column %s: %w", column, err)
		}
	}
	return nil
}

// writeFacts writes what is not there yet. The epoch of tables that exist already
// stays: their cursors stay good.
func writeFacts(tx *gorm.DB, tables models.Tables) error {
	known := map[string]string{}
	if tx.Migrator().HasTable(tables.Meta) { // or this is a plan
		var rows []models.Meta
		if err := tx.Table(tables.Meta).Find(&rows).Error; err != nil {
			return fmt.Errorf("migrate: reading %s: %w", tables.Meta, err)
		}
		for _, r := range rows {
			known[r.Key] = r.Value
		}
	}
	facts := []models.Meta{{Key: models.MetaSchema, Value: strconv.Itoa(SchemaVersion)}}
	if known[models.MetaEpoch] == "" {
		facts = append(facts, models.Meta{Key: models.MetaEpoch, Value: rand.Text()})
	}
	for _, fact := range facts {
		if known[fact.Key] == fact.Value {
			continue
		}
		if err := tx.Table(tables.Meta).Clauses(clause.OnConflict{UpdateAll: true}).Create(&fact).Error; err != nil {
			return fmt.Errorf("migrate: writing %s: %w", tables.Meta, err)
		}
	}
	return nil
}

// Down removes the log tables and with them the whole log. The application's
// own tables stay as they are.
func Down(ctx context.Context, db *gorm.DB, prefix string) error {
	tables, err := tablesFor(prefix)
	if err != nil {
		return err
	}
	return locked(ctx, db, tables, func(tx *gorm.DB) error {
		for _, name := range []string{tables.Mutations, tables.Fields, tables.Changes, tables.Meta} {
			if err := tx.Migrator().DropTable(name); err != nil {
				return fmt.Errorf("migrate: removing the table %s: %w", name, err)
			}
		}
		if tx.Name() == "sqlite" {
			return nil
		}
		if err := tx.Exec("DROP FUNCTION IF EXISTS " + notifyFunction(tables) + "()").Error; err != nil {
			return fmt.Errorf("migrate: removing what UpNotify made: %w", err)
		}
		return nil
	})
}

// Version tells the schema version of the log tables; 0 when there are none.
func Version(ctx context.Context, db *gorm.DB, prefix string) (int, error) {
	tables, err := tablesFor(prefix)
	if err != nil {
		return 0, err
	}
	return version(ctx, db, tables)
}

func version(ctx context.Context, db *gorm.DB, tables models.Tables) (int, error) {
	db = db.Session(&gorm.Session{NewDB: true, Context: ctx})
	if !db.Migrator().HasTable(tables.Meta) {
		return 0, nil
	}
	var rows []models.Meta
	if err := db.Table(tables.Meta).Where(clause.Eq{Column: "key", Value: models.MetaSchema}).Find(&rows).Error; err != nil {
		return 0, fmt.Errorf("migrate: reading %s: %w", tables.Meta, err)
	}
	if len(rows) == 0 {
		return 0, nil
	}
	v, err := strconv.Atoi(rows[0].Value)
	if err != nil {
		return 0, fmt.Errorf("migrate: %s says schema version %q, which is no number", tables.Meta, rows[0].Value)
	}
	if v > SchemaVersion {
		return v, fmt.Errorf("migrate: the log tables are of schema version %d and this gormsync knows up to %d; use a newer gormsync", v, SchemaVersion)
	}
	return v, nil
}
