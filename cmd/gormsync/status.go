package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/rhtmx/gormsync/migrate"
	"github.com/rhtmx/gormsync/models"
)

// stamp is how times are shown to people.
const stamp = "2006-01-02 15:04:05"

// status is what migrate status tells.
type status struct {
	Version int `json:"version"`
	Latest  int `json:"latest"`
	// RhtmxSync says that the log tables are those of rhtmx-sync.
	RhtmxSync bool `json:"rhtmx_sync"`
	// Copying says that a copy into the database is not complete.
	Copying bool `json:"copying"`
	// Due counts the statements that migrate up would run.
	Due int `json:"due"`
	// Changes and Fields count the rows of the logs.
	Changes int64 `json:"changes"`
	Fields  int64 `json:"fields"`
	// Oldest and Newest are the times of the first and the last change.
	Oldest   *time.Time `json:"oldest,omitempty"`
	Newest   *time.Time `json:"newest,omitempty"`
	Entities []string   `json:"entities"`
}

func readStatus(ctx context.Context, db *gorm.DB, prefix string) (status, error) {
	s := status{Latest: migrate.SchemaVersion, Entities: []string{}}
	var err error
	if s.Version, err = migrate.Version(ctx, db, prefix); err != nil {
		return s, err
	}
	if s.Copying, err = migrate.Copying(ctx, db, prefix); err != nil {
		return s, err
	}
	if s.Version == 0 {
		if s.RhtmxSync, err = migrate.FromRhtmxSync(ctx, db, prefix); err != nil || s.RhtmxSync {
			return s, err
		}
		return s, hidden(ctx, db, prefix)
	}
	due, err := migrate.Plan(ctx, db, prefix)
	if s.Due = len(due); err != nil || s.Version == s.Latest && s.Due > 0 {
		return s, err // what is missing may be what would be counted
	}
	tables := models.TablesFor(prefix)
	db = db.WithContext(ctx)
	if err := db.Table(tables.Changes).Count(&s.Changes).Error; err != nil {
		return s, fmt.Errorf("counting the changes: %w", err)
	}
	if err := db.Table(tables.Fields).Count(&s.Fields).Error; err != nil {
		return s, fmt.Errorf("counting the fields: %w", err)
	}
	for direction, at := range map[bool]**time.Time{false: &s.Oldest, true: &s.Newest} {
		var rows []models.Change
		err := db.Table(tables.Changes).Select("created_at").Order(clause.OrderByColumn{Column: clause.Column{Name: "id"}, Desc: direction}).Limit(1).Find(&rows).Error
		if err != nil {
			return s, fmt.Errorf("reading the changes: %w", err)
		}
		if len(rows) > 0 {
			*at = &rows[0].CreatedAt
		}
	}
	key := clause.Column{Name: "key"}
	var facts []models.Meta
	if err := db.Table(tables.Meta).Where(clause.Like{Column: key, Value: models.MetaEntity + "%"}).Order(clause.OrderByColumn{Column: key}).Find(&facts).Error; err != nil {
		return s, fmt.Errorf("reading %s: %w", tables.Meta, err)
	}
	for _, f := range facts {
		s.Entities = append(s.Entities, strings.TrimPrefix(f.Key, models.MetaEntity))
	}
	return s, nil
}

// hidden is an error when there are log tables that the role of the URL does not see.
func hidden(ctx context.Context, db *gorm.DB, prefix string) error {
	if db.Name() != "postgres" {
		return nil
	}
	var found []struct {
		Schema  string
		Allowed bool
	}
	meta := models.TablesFor(prefix).Meta
	err := db.WithContext(ctx).Raw(`SELECT n.nspname AS schema, has_schema_privilege(n.oid, 'USAGE') AS allowed FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = ? AND c.relkind IN ('r', 'p') AND NOT (pg_table_is_visible(c.oid) AND has_schema_privilege(n.oid, 'USAGE'))`, meta).Scan(&found).Error
	switch {
	case err != nil:
		return fmt.Errorf("looking for %s: %w", meta, err)
	case len(found) == 0:
		return nil
	case !found[0].Allowed:
		return fmt.Errorf("%s is in the schema %s, which this role may not use; gormsync doctor names the rights that it needs", meta, found[0].Schema)
	}
	return fmt.Errorf("%s is in the schema %s, which is not in the search_path; add ?search_path=%[2]s to the URL", meta, found[0].Schema)
}

// ready is an error unless the log tables are those of this program.
func (t *tool) ready(ctx context.Context, db *gorm.DB) error {
	version, err := migrate.Version(ctx, db, t.prefix)
	if err != nil || version == migrate.SchemaVersion {
		return err
	}
	if err := hidden(ctx, db, t.prefix); err != nil {
		return err
	}
	old, err := migrate.FromRhtmxSync(ctx, db, t.prefix)
	switch {
	case err != nil:
		return err
	case old:
		return errors.New("the log tables are those of rhtmx-sync; gormsync migrate up takes them over, with their rows")
	case version == 0:
		return errors.New("there are no log tables; run gormsync migrate up, or name the --prefix")
	}
	return fmt.Errorf("the log tables are of version %d, and this program needs %d; run gormsync migrate up", version, migrate.SchemaVersion)
}
