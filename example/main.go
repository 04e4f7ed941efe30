// The example is a to-do list that stays in step in every window:
//
//	go run ./example
//
// Its handlers are ordinary Echo and GORM. What makes it live are the lines of
// open that have to do with gormsync, and one script tag in page.html.
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
)

//go:embed page.html page.css page.js
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

  1. Open it in two windows, side by side.
  2. Add, tick or delete a to-do in one: the other follows at once.
  3. Stop this program with Ctrl+C and start it again: both windows come back and catch up.
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
		Entities:  []gormsync.Entity{{Model: &Todo{}, FieldLog: true}},
		Authorize: gormsync.UnsafeAllowAll, // a demo: everybody may see everything
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
	a.echo.GET("/todos.json", a.list)
	a.echo.POST("/todos", a.add)
	a.echo.POST("/todos/:id/toggle", a.toggle)
	a.echo.POST("/todos/:id/delete", a.remove)
}

func (a *app) all(c echo.Context) (all []Todo, err error) {
	err = a.db.WithContext(c.Request().Context()).Order("position DESC, created_at DESC, id").Find(&all).Error
	return all, err
}

func (a *app) list(c echo.Context) error {
	all, err := a.all(c)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, all)
}

func (a *app) add(c echo.Context) error {
	db := a.db.WithContext(c.Request().Context())
	todo := Todo{Title: c.FormValue("title")}
	if err := db.Model(&Todo{}).Select("COALESCE(MAX(position), 0) + 1").Scan(&todo.Position).Error; err != nil {
		return err
	}
	return a.answer(c, http.StatusCreated, todo, db.Create(&todo).Error)
}

// find looks a to-do up. What is no key of ours is nobody's.
func find(db *gorm.DB, id string) (todo Todo, err error) {
	if uuid.Validate(id) != nil {
		return todo, gorm.ErrRecordNotFound
	}
	err = db.First(&todo, "id = ?", id).Error
	return todo, err
}

func (a *app) toggle(c echo.Context) error {
	db := a.db.WithContext(c.Request().Context())
	todo, err := find(db, c.Param("id"))
	if err == nil {
		err = db.Model(&todo).Update("done", !todo.Done).Error
	}
	return a.answer(c, http.StatusOK, todo, err)
}

func (a *app) remove(c echo.Context) error {
	db := a.db.WithContext(c.Request().Context())
	todo, err := find(db, c.Param("id"))
	if err == nil {
		err = db.Delete(&todo).Error
	}
	return a.answer(c, http.StatusOK, todo, err)
}

// answer tells how a change went: to the page's script in JSON, to a plain form by showing the page again.
func (a *app) answer(c echo.Context, status int, todo Todo, err error) error {
	switch {
	case errors.Is(err, errTitle):
		return a.refuse(c, http.StatusUnprocessableEntity, "invalid", fmt.Sprintf("Write what is to be done, in 1 to %d characters.", maxTitle))
	case errors.Is(err, gorm.ErrRecordNotFound):
		return a.refuse(c, http.StatusNotFound, "not_found", "That to-do is gone: somebody deleted it.")
	case err != nil:
		return err
	case wantsJSON(c):
		return c.JSON(status, todo)
	}
	return c.Redirect(http.StatusSeeOther, "/")
}

func (a *app) refuse(c echo.Context, status int, code, message string) error {
	if wantsJSON(c) {
		return c.JSON(status, map[string]string{"error": code, "message": message})
	}
	return a.page(c, status, message)
}

func wantsJSON(c echo.Context) bool {
	return strings.Contains(c.Request().Header.Get(echo.HeaderAccept), echo.MIMEApplicationJSON)
}

// page shows all to-dos and, after a refusal, the reason and what was typed.
func (a *app) page(c echo.Context, status int, problem string) error {
	all, err := a.all(c)
	if err != nil {
		return err
	}
	done := 0
	for _, todo := range all {
		if todo.Done {
			done++
		}
	}
	c.Response().Header().Set(echo.HeaderContentType, echo.MIMETextHTMLCharsetUTF8)
	c.Response().WriteHeader(status)
	return page.Execute(c.Response(), map[string]any{
		"Todos": all, "Done": done, "Total": len(all), "Blank": Todo{},
		"Problem": problem, "Typed": c.FormValue("title"), "MaxTitle": maxTitle,
	})
}
