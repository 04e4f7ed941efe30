package gormsync_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
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
