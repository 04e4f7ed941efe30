package main

import (
	"context"
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
	if s.Version, err = migrate.Version(ctx, db, prefix); err != nil || s.Version == 0 {
		return s, err
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
