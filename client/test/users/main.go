// The program is an application with users, for the tests of the browser client:
// a cookie says who is signed in, and everybody has notes of his own.
package main

import (
	"flag"
	"fmt"
	"html"
	"log"
	"net/http"

	"github.com/labstack/echo/v4"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync"
)

// Note is somebody's.
type Note struct {
	ID    string `gorm:"primaryKey"`
	Owner string
	Text  string
}

const page = `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>notes</title><link rel="icon" href="data:,">
<script src="/api/sync/client.js" data-entities="notes" data-user="%s"></script></head><body></body></html>`

func user(c echo.Context) string {
	cookie, err := c.Cookie("user")
	if err != nil {
		return ""
	}
	return cookie.Value
}

func authorize(c echo.Context, _ string) (gormsync.Access, error) {
	who := user(c)
	if who == "" {
		return gormsync.Access{}, echo.ErrUnauthorized
	}
	return gormsync.Access{Read: true, Write: true, Scopes: []string{who}, Actor: who}, nil
}

func open(url string) (*gorm.DB, *gormsync.Plugin, error) {
	db, err := gormsync.Open(url)
	if err != nil {
		return nil, nil, err
	}
	if err := db.AutoMigrate(&Note{}); err != nil {
		return nil, nil, err
	}
	plugin, err := gormsync.New(gormsync.Config{Authorize: authorize, Entities: []gormsync.Entity{{Model: &Note{}, Scope: "owner", Writable: true}}})
	if err != nil {
		return nil, nil, err
	}
	return db, plugin, db.Use(plugin)
}

func run(addr, url string) error {
	db, plugin, err := open(url)
	if err != nil {
		return err
	}
	e := echo.New()
	e.HideBanner = true
	if err := plugin.Mount(e.Group("/api")); err != nil {
		return err
	}
	e.GET("/", func(c echo.Context) error {
		return c.HTML(http.StatusOK, fmt.Sprintf(page, html.EscapeString(user(c))))
	})
	e.GET("/log", func(c echo.Context) error {
		var notes []Note
		err := db.Order("id").Find(&notes).Error
		if err != nil {
			return err
		}
		return c.JSON(http.StatusOK, notes)
	})
	fmt.Println("http://" + addr)
	return e.Start(addr)
}

func main() {
	addr := flag.String("addr", "localhost:8080", "where to listen")
	url := flag.String("db", "sqlite://notes.db", "the database")
	flag.Parse()
	log.Fatal(run(*addr, *url))
}
