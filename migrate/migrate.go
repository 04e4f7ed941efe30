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
// 2 added the table of mutations.
const SchemaVersion = 2

// Up makes the log tables under the prefix (empty means models.DefaultPrefix),
// or upgrades older ones. It does nothing when they are of SchemaVersion
// already, and fails when they are of a later one.
func Up(ctx context.Context, db *gorm.DB, prefix string) error {
	tables, err := tablesFor(prefix)
	if err != nil {
		return err
	}
	v, err := version(ctx, db, tables)
	if err != nil || v == SchemaVersion {
		return err
	}
	return locked(ctx, db, tables, func(tx *gorm.DB) error {
		v, err := version(ctx, tx, tables) // another process may have been first
		if err != nil || v == SchemaVersion {
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
		table := tx.Table(t.name)
		if t.fresh {
			err = table.Migrator().CreateTable(t.model)
		} else {
			err = table.AutoMigrate(t.model)
		}
		if err != nil {
			return fmt.Errorf("migrate: making the table %s: %w", t.name, err)
		}
	}
	if origin.found() {
		if err := origin.move(); err != nil {
			return err
		}
	}
	for _, sql := range beyond(tx.Name(), tables) {
		if err := tx.Exec(sql).Error; err != nil {
			return fmt.Errorf("migrate: %s: %w", sql, err)
		}
	}
	return writeFacts(tx, tables)
}

func writeFacts(tx *gorm.DB, tables models.Tables) error {
	epoch := models.Meta{Key: models.MetaEpoch, Value: rand.Text()}
	schema := models.Meta{Key: models.MetaSchema, Value: strconv.Itoa(SchemaVersion)}
	// The epoch of tables that exist already stays: their cursors stay good.
	err := tx.Table(tables.Meta).Clauses(clause.OnConflict{DoNothing: true}).Create(&epoch).Error
	if err == nil {
		err = tx.Table(tables.Meta).Clauses(clause.OnConflict{UpdateAll: true}).Create(&schema).Error
	}
	if err != nil {
		return fmt.Errorf("migrate: writing %s: %w", tables.Meta, err)
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
