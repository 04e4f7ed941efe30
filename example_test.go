package gormsync_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/models"
)

// Note is a model like any other.
type Note struct {
	ID     string `gorm:"primaryKey"`
	Text   string
	TeamID string
}

// The whole of it: a few lines more in an application that has GORM and Echo.
func Example() {
	db, err := gormsync.Open("sqlite::memory:") // or any *gorm.DB of yours
	check(err)
	check(db.AutoMigrate(&Note{}))

	sync, err := gormsync.New(gormsync.Config{
		Entities: []gormsync.Entity{{Model: &Note{}, Scope: "team_id"}},
		Authorize: func(c echo.Context, entity string) (gormsync.Access, error) {
			team := c.Request().Header.Get("X-Team") // your session or token
			return gormsync.Access{Read: team != "", Scopes: []string{team}}, nil
		},
	})
	check(err)
	check(db.Use(sync)) // from here on every change is recorded

	e := echo.New()
	check(sync.Mount(e.Group("/api"))) // and served under /api/sync

	check(db.Create(&Note{ID: "n1", Text: "hello", TeamID: "red"}).Error)
	check(db.Create(&Note{ID: "n2", Text: "hidden", TeamID: "blue"}).Error)
	fmt.Println(get(e, "/api/sync/notes", "red"))
	end(db, sync)
	// Output: {"id":"n1","text":"hello","team_id":"red"}
}

// Clients change what they may, through the application's own models.
func Example_push() {
	db, err := gormsync.Open("sqlite::memory:")
	check(err)
	check(db.AutoMigrate(&Note{}))
	sync, err := gormsync.New(gormsync.Config{
		Entities: []gormsync.Entity{{Model: &Note{}, Scope: "team_id", Writable: true}},
		Authorize: func(c echo.Context, entity string) (gormsync.Access, error) {
			team := c.Request().Header.Get("X-Team")
			return gormsync.Access{Read: team != "", Write: team != "", Scopes: []string{team}}, nil
		},
	})
	check(err)
	check(db.Use(sync))
	e := echo.New()
	check(sync.Mount(e.Group("/api")))

	change := `{"id":"n1","action":"create","data":{"text":"hello"},"mutation_id":"m1"}`
	for range 2 { // the answer to the first was lost
		fmt.Println(push(e, "red", change))
	}
	fmt.Println(push(e, "blue", `{"id":"n1","action":"update","data":{"text":"mine"},"mutation_id":"m2"}`))
	end(db, sync)
	// Output:
	// applied {"id":"n1","text":"hello","team_id":"red"}
	// duplicate {"id":"n1","text":"hello","team_id":"red"}
	// rejected: There is no such row, or it is not yours.
}

// Server code can refuse to overwrite what it has not seen.
func ExampleVersionOf() {
	db, err := gormsync.Open("sqlite::memory:")
	check(err)
	check(db.AutoMigrate(&Note{}))
	sync, err := gormsync.New(gormsync.Config{Entities: []gormsync.Entity{{Model: &Note{}}}})
	check(err)
	check(db.Use(sync))
	check(db.Create(&Note{ID: "n1", Text: "hello"}).Error)

	note := Note{ID: "n1"}
	version, err := gormsync.VersionOf(db, &note) // before the row is read
	check(err)
	check(db.First(&note).Error)

	check(db.Model(&Note{ID: "n1"}).Update("text", "somebody was faster").Error)

	note.Text = "mine"
	err = db.WithContext(gormsync.WithBase(context.Background(), &note, version)).Save(&note).Error
	fmt.Println(errors.Is(err, gormsync.ErrStale))
	end(db, sync)
	// Output: true
}

func push(e *echo.Echo, team, change string) string {
	req := httptest.NewRequest(http.MethodPost, "/api/sync/notes", strings.NewReader(`{"client_id":"phone","changes":[`+change+`]}`))
	req.Header.Set("X-Team", team)
	rec := httptest.NewRecorder()
	e.ServeHTTP(rec, req)
	var answer models.PushResponse
	check(json.Unmarshal(rec.Body.Bytes(), &answer))
	if r := answer.Results[0]; r.Error != nil {
		return fmt.Sprintf("%s: %s", r.Status, r.Error)
	}
	return fmt.Sprintf("%s %s", answer.Results[0].Status, answer.Results[0].Data)
}

// Go code follows the same log.
func ExamplePlugin_Changes() {
	db, err := gormsync.Open("sqlite::memory:")
	check(err)
	check(db.AutoMigrate(&Note{}))
	sync, err := gormsync.New(gormsync.Config{Entities: []gormsync.Entity{{Model: &Note{}}}})
	check(err)
	check(db.Use(sync))

	ctx := gormsync.WithActor(context.Background(), "alice")
	check(db.WithContext(ctx).Create(&Note{ID: "n1", Text: "hello"}).Error)
	check(db.WithContext(ctx).Model(&Note{ID: "n1"}).Update("text", "bye").Error)

	page, err := sync.Changes().Since(ctx, "notes", models.Cursor{}, 100)
	check(err)
	for _, e := range page.Entries {
		fmt.Println(e.Row.Action, e.Row.EntityID, "by", e.Row.Actor, string(e.Row.Data))
	}
	end(db, sync)
	// Output:
	// create n1 by alice {"id":"n1","text":"hello","team_id":""}
	// update n1 by alice {"id":"n1","text":"bye","team_id":""}
}

func get(e *echo.Echo, path, team string) string {
	req := httptest.NewRequest(http.MethodGet, path, nil)
	req.Header.Set("X-Team", team)
	rec := httptest.NewRecorder()
	e.ServeHTTP(rec, req)
	return firstData(rec.Body.Bytes())
}

func end(db *gorm.DB, sync *gormsync.Plugin) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	check(sync.Close(ctx)) // ends live connections; call it before e.Shutdown
	pool, err := db.DB()
	check(err)
	check(pool.Close())
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
