// The example is a to-do list that stays in step in every window, and goes on
// without a server:
//
//	go run ./example
//
// Its handlers are ordinary Echo and GORM. What makes it live and offline-capable
// are the lines of open that have to do with gormsync, and one script tag in
// page.html.
package main

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"html/template"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/models"
)

//go:embed page.html page.css page.js sw.js
var files embed.FS

var page = template.Must(template.ParseFS(files, "page.html"))

// A Todo is something to be done.
type Todo struct {
	ID        string    `json:"id" gorm:"primaryKey"`
	Title     string    `json:"title" gorm:"not null"`
	Done      bool      `json:"done" gorm:"not null"`
	Position  int       `json:"position" gorm:"not null"` // the highest stands on top
	Notes     string    `json:"notes" gorm:"not null"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

const maxTitle = 200

var errTitle = fmt.Errorf("a title needs 1 to %d characters", maxTitle)

// BeforeCreate gives the to-do its key.
func (t *Todo) BeforeCreate(*gorm.DB) error {
	t.ID = cmp.Or(t.ID, uuid.NewString())
	return nil
}

// BeforeSave refuses a to-do without a title. It is a hook, so that no way of
// saving gets around it.
func (t *Todo) BeforeSave(*gorm.DB) error {
	t.Title = strings.TrimSpace(t.Title)
	if t.Title == "" || utf8.RuneCountInString(t.Title) > maxTitle || !utf8.ValidString(t.Title) || strings.ContainsRune(t.Title, 0) {
		return errTitle
	}
	return nil
}

func main() {
	addr := flag.String("addr", "localhost:8080", "where to listen")
	url := flag.String("db", cmp.Or(os.Getenv("DATABASE_URL"), "sqlite://todos.db"), "the database: sqlite://path or postgres://…; DATABASE_URL is the default")
	flag.Parse()
	if err := run(*addr, *url); err != nil {
		log.Fatal(err)
	}
}

// run serves until Ctrl+C or SIGTERM.
func run(addr, url string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	a, err := open(url)
	if err != nil {
		return err
	}
	if a.echo.Listener, err = net.Listen("tcp", addr); err != nil {
		return errors.Join(err, a.close())
	}
	fmt.Printf(welcome, a.echo.Listener.Addr().(*net.TCPAddr).Port)
	failed := make(chan error, 1)
	go func() { failed <- a.echo.Start("") }()
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	return errors.Join(err, a.close())
}

const welcome = `The to-do list is on http://localhost:%d

  1. Open it in two windows side by side, one of them private: so they are two people.
  2. Add, tick, rename or delete a to-do in one: the other follows at once.
  3. Press a title: its history tells who did what and when, and brings earlier states back.
  4. Stop this program with Ctrl+C. Go on in both windows, rename the same to-do in both, reload them.
  5. Start it again: both send what waited, and who came second is asked which title is to stand.
`

// app is the application: its handlers are methods.
type app struct {
	echo *echo.Echo
	db   *gorm.DB
	sync *gormsync.Plugin
}

// open connects to the database, has the to-dos followed, and lays the routes.
func open(url string) (*app, error) {
	db, err := gormsync.Open(url)
	if err != nil {
		return nil, err
	}
	sync, err := gormsync.New(gormsync.Config{
		Entities: []gormsync.Entity{{
			Model: &Todo{}, Writable: true,
			// Of two titles neither is thrown away: whoever comes second is shown both. All else goes to the last writer.
			FieldStrategy: map[string]models.Strategy{"title": models.KeepBoth},
		}},
		Authorize: func(c echo.Context, _ string) (gormsync.Access, error) {
			// A demonstration: everybody may see and change everything, under the name of a cookie.
			return gormsync.Access{Read: true, Write: true, AllScopes: true, Actor: nameOf(c)}, nil
		},
	})
	if err != nil {
		return nil, err
	}
	if err := db.AutoMigrate(&Todo{}); err != nil {
		return nil, err
	}
	if err := db.Use(sync); err != nil {
		return nil, err
	}
	a := &app{echo: echo.New(), db: db, sync: sync}
	a.routes()
	return a, sync.Mount(a.echo.Group("/api"))
}

// close ends the live connections first: echo's Shutdown does not end those.
func (a *app) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := errors.Join(a.sync.Close(ctx), a.echo.Shutdown(ctx))
	pool, openErr := a.db.DB()
	if openErr != nil {
		return errors.Join(err, openErr)
	}
	return errors.Join(err, pool.Close())
}

func (a *app) routes() {
	a.echo.HideBanner, a.echo.HidePort = true, true
	a.echo.Server.ReadHeaderTimeout = 10 * time.Second
	a.echo.GET("/", func(c echo.Context) error { return a.page(c, http.StatusOK, "") })
	a.echo.FileFS("/page.css", "page.css", files)
	a.echo.FileFS("/page.js", "page.js", files)
	a.echo.FileFS("/sw.js", "sw.js", files)
	a.echo.GET("/todos.json", a.list)
	a.echo.POST("/todos", a.add)
	a.echo.POST("/todos/:id/toggle", a.toggle)
	a.echo.POST("/todos/:id/rename", a.rename)
	a.echo.POST("/todos/:id/delete", a.remove)
	a.echo.GET("/todos/:id/history", a.history)
	a.echo.POST("/name", a.setName)
}
