package gormsync_test

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"errors"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/models"
)

// A Typed has a column of every kind.
type Typed struct {
	ID        uuid.UUID `gorm:"primaryKey"`
	Title     string
	Count     int
	Big       uint64
	Ratio     float32
	Done      bool
	Due       time.Time
	Raw       []byte
	Note      *string
	Rank      sql.NullInt64
	Parent    uuid.NullUUID
	Extra     json.RawMessage   `gorm:"type:json"`
	Tags      map[string]string `gorm:"serializer:json"`
	Odd       string            `gorm:"column:odd name"`
	Secret    string            `json:"-"`
	DeletedAt gorm.DeletedAt
}

const typed = `// The rows that gormsync serves. Written by gormsync.WriteTypes; do not edit.

/** A row of todos. */
export interface Todo {
  id: string;
  title: string;
  done: boolean;
  team: string;
}

/** A row of typeds. */
export interface Typed {
  id: string;
  title: string;
  count: number;
  big: number;
  ratio: number;
  done: boolean;
  due: string;
  raw: string | null;
  note: string | null;
  rank: number | null;
  parent: string | null;
  extra: unknown;
  tags: unknown;
  "odd name": string;
  deleted_at: string | null;
}

/** The row of every entity. */
export interface Entities {
  todos: Todo;
  typeds: Typed;
}
`

func newTyped(t *testing.T, db *gorm.DB) *gormsync.Plugin {
	t.Helper()
	require.NoError(t, db.AutoMigrate(&Todo{}, &Typed{}))
	p, err := gormsync.New(gormsync.Config{Entities: []gormsync.Entity{{Model: &Typed{}}, {Model: &Todo{}}}, Authorize: func(echo.Context, string) (gormsync.Access, error) {
		return gormsync.Access{}, nil
	}})
	require.NoError(t, err)
	require.ErrorContains(t, gormsync.WriteTypes(&bytes.Buffer{}, p), "db.Use")
	require.NoError(t, db.Use(p))
	return p
}

func TestWriteTypes(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		db := d.Open(t)
		p := newTyped(t, db)
		var b bytes.Buffer
		require.NoError(t, gormsync.WriteTypes(&b, p))
		require.Equal(t, typed, b.String())
		require.ErrorIs(t, gormsync.WriteTypes(failingWriter{}, p), errWriter)
	})
}

var errWriter = errors.New("the disk is full")

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errWriter }

// What the types say is what the log writes.
func TestTypesAreThoseOfTheRows(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		db := d.Open(t)
		p := newTyped(t, db)
		note := "n"
		require.NoError(t, db.Create(&Typed{ID: uuid.New(), Extra: json.RawMessage(`{}`)}).Error)
		require.NoError(t, db.Create(&Typed{
			ID: uuid.New(), Note: &note, Rank: sql.NullInt64{Int64: 1, Valid: true}, Parent: uuid.NullUUID{UUID: uuid.New(), Valid: true}, Due: time.Now(),
			Raw: []byte{1}, Extra: json.RawMessage(`[1]`), Tags: map[string]string{"a": "b"}, Big: 1 << 40,
		}).Error)
		page, err := p.Changes().Since(t.Context(), "typeds", models.Cursor{}, 10)
		require.NoError(t, err)
		require.Len(t, page.Entries, 2)
		columns := regexp.MustCompile(`(?m)^  "?([a-z_ ]+)"?: (.*);$`).FindAllStringSubmatch(typed[strings.Index(typed, "Typed {"):strings.Index(typed, "/** The row of every")], -1)
		for _, e := range page.Entries {
			var row map[string]any
			require.NoError(t, json.Unmarshal(e.Row.Data, &row))
			require.Len(t, row, len(columns))
			for _, c := range columns {
				require.Contains(t, row, c[1])
				if c[2] != "unknown" {
					require.Contains(t, strings.Split(c[2], " | "), jsonKind(row[c[1]]), "%s is %s", c[1], e.Row.Data)
				}
			}
		}
	})
}

func jsonKind(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case float64:
		return "number"
	case bool:
		return "boolean"
	}
	return reflect.TypeOf(v).Kind().String()
}
