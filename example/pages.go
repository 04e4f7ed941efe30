package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync"
)

const (
	nameCookie = "name"
	maxName    = 24
)

var guests = []string{"Badger", "Fox", "Hare", "Heron", "Jay", "Lynx", "Marten", "Otter", "Robin", "Stoat", "Swift", "Wren"}

// nameOf is the name of whoever looks at the page: a guest's until they give
// another one.
func nameOf(c echo.Context) string {
	if name, ok := c.Get(nameCookie).(string); ok {
		return name
	}
	name := guests[rand.IntN(len(guests))]
	if cookie, err := c.Cookie(nameCookie); err == nil {
		if kept, err := url.QueryUnescape(cookie.Value); err == nil && kept != "" {
			name = clip(kept)
		}
	}
	c.Set(nameCookie, name)
	return name
}

func clip(name string) string {
	runes := []rune(strings.ToValidUTF8(strings.TrimSpace(strings.ReplaceAll(name, "\x00", "")), ""))
	return string(runes[:min(len(runes), maxName)])
}

func remember(c echo.Context, name string) {
	c.SetCookie(&http.Cookie{
		Name: nameCookie, Value: url.QueryEscape(name), Path: "/", MaxAge: int((365 * 24 * time.Hour).Seconds()),
		HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

func (a *app) setName(c echo.Context) error {
	if name := clip(c.FormValue("name")); name != "" {
		remember(c, name)
	}
	return c.Redirect(http.StatusSeeOther, "/")
}

// as is the database for a request: what it changes is logged under the visitor's name.
func (a *app) as(c echo.Context) *gorm.DB {
	return a.db.WithContext(gormsync.WithActor(c.Request().Context(), nameOf(c)))
}

// history lists a to-do's changes, the newest first, straight from the change log.
func (a *app) history(c echo.Context) error {
	if uuid.Validate(c.Param("id")) != nil {
		return a.refuse(c, http.StatusNotFound, "not_found", "There is no such to-do.")
	}
	changes, err := a.sync.Changes().History(c.Request().Context(), "todos", c.Param("id"), 0, 50)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, changes)
}

func (a *app) all(c echo.Context) (all []Todo, err error) {
	err = a.as(c).Order("position DESC, created_at DESC, id").Find(&all).Error
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
	db := a.as(c)
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
	db := a.as(c)
	todo, err := find(db, c.Param("id"))
	if err == nil {
		err = db.Model(&todo).Update("done", !todo.Done).Error
	}
	return a.answer(c, http.StatusOK, todo, err)
}

func (a *app) rename(c echo.Context) error {
	db := a.as(c)
	todo, err := find(db, c.Param("id"))
	if err == nil {
		todo.Title = c.FormValue("title")
		err = db.Model(&todo).Select("title", "updated_at").Updates(&todo).Error
	}
	return a.answer(c, http.StatusOK, todo, err)
}

func (a *app) remove(c echo.Context) error {
	db := a.as(c)
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
	if _, err := c.Cookie(nameCookie); err != nil {
		remember(c, nameOf(c))
	}
	c.Response().Header().Set(echo.HeaderContentType, echo.MIMETextHTMLCharsetUTF8)
	c.Response().WriteHeader(status)
	return page.Execute(c.Response(), map[string]any{
		"Todos": all, "Done": done, "Total": len(all), "Blank": Todo{},
		"Problem": problem, "Typed": c.FormValue("title"), "MaxTitle": maxTitle, "Visitor": nameOf(c),
	})
}
