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
	for _, t := range []struct {
		name  string
		model any
	}{
		{tables.Meta, &models.Meta{}},
		{tables.Changes, &models.Change{}},
		{tables.Fields, &models.FieldChange{}},
		{tables.Mutations, &models.Mutation{}},
	} {
		if err := tx.Table(t.name).AutoMigrate(t.model); err != nil {
			return fmt.Errorf("migrate: making the table %s: %w", t.name, err)
		}
	}
	for _, sql := range beyond(tx.Name(), tables) {
		if err := tx.Exec(sql).Error; err != nil {
			return fmt.Errorf("migrate: %s: %w", sql, err)
		}
	}
	facts := []models.Meta{
		{Key: models.MetaEpoch, Value: rand.Text()},
		{Key: models.MetaSchema, Value: strconv.Itoa(SchemaVersion)},
	}
	// The epoch of tables that exist already stays: their cursors stay good.
	if err := tx.Table(tables.Meta).Clauses(clause.OnConflict{DoNothing: true}).Create(facts[:1]).Error; err != nil {
		return fmt.Errorf("migrate: writing %s: %w", tables.Meta, err)
	}
	if err := tx.Table(tables.Meta).Save(&facts[1]).Error; err != nil {
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
