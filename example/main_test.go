package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync"
)

// visitor uses the example without a network: requests go straight to its routes.
type visitor struct {
	t *testing.T
	*app
}

func newApp(t *testing.T) visitor {
	t.Helper()
	a, err := open("sqlite://" + filepath.Join(t.TempDir(), "todos.db"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, a.close()) })
	return visitor{t, a}
}

// send sends a form, or asks if there is none, and accepts what is named.
func (a visitor) send(path, accept string, form url.Values) *httptest.ResponseRecorder {
	req := httptest.NewRequest(http.MethodGet, path, nil)
	if form != nil {
		req = httptest.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
		req.Header.Set(echo.HeaderContentType, echo.MIMEApplicationForm)
	}
	req.Header.Set(echo.HeaderAccept, accept)
	rec := httptest.NewRecorder()
	a.echo.ServeHTTP(rec, req)
	return rec
}

func (a visitor) post(title string) Todo {
	a.t.Helper()
	rec := a.send("/todos", echo.MIMEApplicationJSON, url.Values{"title": {title}})
	require.Equal(a.t, http.StatusCreated, rec.Code, rec.Body)
	var todo Todo
	require.NoError(a.t, json.Unmarshal(rec.Body.Bytes(), &todo))
	return todo
}

func (a visitor) titles() (titles []string) {
	a.t.Helper()
	var all []Todo
	rec := a.send("/todos.json", "", nil)
	require.NoError(a.t, json.Unmarshal(rec.Body.Bytes(), &all))
	for _, todo := range all {
		titles = append(titles, todo.Title)
	}
	return titles
}

func TestPlainFormsComeBackToThePage(t *testing.T) {
	a := newApp(t)
	todo := a.post("  Buy milk  ")
	require.Equal(t, "Buy milk", todo.Title)
	for _, path := range []string{"/todos/" + todo.ID + "/toggle", "/todos/" + todo.ID + "/rename", "/todos/" + todo.ID + "/delete", "/todos"} {
		rec := a.send(path, "text/html", url.Values{"title": {"Another"}})
		require.Equal(t, http.StatusSeeOther, rec.Code, path)
		require.Equal(t, "/", rec.Header().Get(echo.HeaderLocation))
	}
	require.Equal(t, []string{"Another"}, a.titles())
}

func TestNewestFirst(t *testing.T) {
	a := newApp(t)
	for _, title := range []string{"one", "two", "three"} {
		a.post(title)
	}
	require.Equal(t, []string{"three", "two", "one"}, a.titles())
}

func TestToggleThereAndBack(t *testing.T) {
	a := newApp(t)
	path := "/todos/" + a.post("x").ID + "/toggle"
	for _, want := range []string{`"done":true`, `"done":false`} {
		rec := a.send(path, echo.MIMEApplicationJSON, url.Values{})
		require.Equal(t, http.StatusOK, rec.Code)
		require.Contains(t, rec.Body.String(), want)
	}
}

func TestBadTitles(t *testing.T) {
	a := newApp(t)
	longest := strings.Repeat("ä", maxTitle)
	require.Equal(t, longest, a.post(longest).Title)
	for _, title := range []string{"", " \t\n ", longest + "ä"} {
		rec := a.send("/todos", echo.MIMEApplicationJSON, url.Values{"title": {title}})
		require.Equal(t, http.StatusUnprocessableEntity, rec.Code)
		require.JSONEq(t, `{"error":"invalid","message":"Write what is to be done, in 1 to 200 characters."}`, rec.Body.String())
	}
	rec := a.send("/todos", "text/html", url.Values{"title": {longest + "!"}})
	require.Equal(t, http.StatusUnprocessableEntity, rec.Code)
	require.Contains(t, rec.Body.String(), "in 1 to 200 characters")
	require.Contains(t, rec.Body.String(), longest+"!", "what was typed is still there")
}

func TestUnknownTodo(t *testing.T) {
	a := newApp(t)
	for _, path := range []string{"/todos/nobody/toggle", "/todos/nobody/rename", "/todos/nobody/delete"} {
		rec := a.send(path, echo.MIMEApplicationJSON, url.Values{})
		require.Equal(t, http.StatusNotFound, rec.Code)
		require.Contains(t, rec.Body.String(), "not_found")
		rec = a.send(path, "text/html", url.Values{})
		require.Equal(t, http.StatusNotFound, rec.Code)
		require.Contains(t, rec.Body.String(), "That to-do is gone")
	}
}

func TestTitlesAreText(t *testing.T) {
	a := newApp(t)
	a.post(`<script>alert(1)</script>"'`)
	body := a.send("/", "text/html", nil).Body.String()
	require.NotContains(t, body, "<script>alert")
	require.Contains(t, body, "&lt;script&gt;alert(1)&lt;/script&gt;")
}

func TestAssetsAndRoutes(t *testing.T) {
	a := newApp(t)
	a.post("in the feed")
	for path, want := range map[string]string{
		"/page.css":           "prefers-color-scheme",
		"/page.js":            "gormsync",
		"/sw.js":              "page.js",
		"/api/sync/client.js": "data-entities",
		"/api/sync/todos":     "in the feed",
	} {
		rec := a.send(path, "", nil)
		require.Equal(t, http.StatusOK, rec.Code, path)
		require.Contains(t, rec.Body.String(), want, path)
	}
}

func TestHistoryTellsWhoDidWhat(t *testing.T) {
	a := newApp(t)
	todo := a.post("Buy milk")
	req := httptest.NewRequest(http.MethodPost, "/todos/"+todo.ID+"/rename", strings.NewReader("title=Buy+oat+milk"))
	req.Header.Set(echo.HeaderContentType, echo.MIMEApplicationForm)
	req.AddCookie(&http.Cookie{Name: "name", Value: url.QueryEscape("Zoë & Ida")})
	rec := httptest.NewRecorder()
	a.echo.ServeHTTP(rec, req)
	require.Equal(t, http.StatusSeeOther, rec.Code, rec.Body)

	rec = a.send("/todos/"+todo.ID+"/history", echo.MIMEApplicationJSON, nil)
	var changes []struct {
		Action, Actor string
		Data          Todo
	}
	require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &changes), rec.Body)
	require.Len(t, changes, 2)
	require.Equal(t, "Zoë & Ida", changes[0].Actor)
	require.Equal(t, "Buy oat milk", changes[0].Data.Title)
	require.Equal(t, "create", changes[1].Action)
	require.Contains(t, guests, changes[1].Actor)
	require.Equal(t, http.StatusNotFound, a.send("/todos/nobody/history", echo.MIMEApplicationJSON, nil).Code)
}

func TestTheNameIsKept(t *testing.T) {
	a := newApp(t)
	rec := a.send("/name", "text/html", url.Values{"name": {"  " + strings.Repeat("ü", maxName+5)}})
	require.Equal(t, http.StatusSeeOther, rec.Code)
	cookies := rec.Result().Cookies()
	require.Len(t, cookies, 1)
	req := httptest.NewRequest(http.MethodGet, "/", nil)
	req.AddCookie(cookies[0])
	rec = httptest.NewRecorder()
	a.echo.ServeHTTP(rec, req)
	require.Contains(t, rec.Body.String(), `value="`+strings.Repeat("ü", maxName)+`"`)
	require.Empty(t, rec.Result().Cookies())
}

func TestPushedEditsObeyTheModelsRules(t *testing.T) {
	a := newApp(t)
	push := func(body string) string {
		req := httptest.NewRequest(http.MethodPost, "/api/sync/todos", strings.NewReader(body))
		req.Header.Set(echo.HeaderContentType, echo.MIMEApplicationJSON)
		rec := httptest.NewRecorder()
		a.echo.ServeHTTP(rec, req)
		require.Equal(t, http.StatusOK, rec.Code, rec.Body)
		return rec.Body.String()
	}
	create := `{"client_id":"c1","changes":[{"id":"5f0c5a4e-7a53-4a51-9d0f-0c7f6f3a2b10","action":"create","mutation_id":"%s","data":{"title":"%s","done":false,"notes":"","position":1}}]}`
	require.Contains(t, push(fmt.Sprintf(create, "m1", "   ")), "a title needs 1 to 200 characters")
	require.Empty(t, a.titles())
	require.Contains(t, push(fmt.Sprintf(create, "m2", "Fine")), `"status":"applied"`)
	require.Equal(t, []string{"Fine"}, a.titles())
}

// models.d.ts is what page.js is checked against. UPDATE_TYPES=1 writes it anew.
func TestTypesAreThoseOfTheModels(t *testing.T) {
	var types bytes.Buffer
	require.NoError(t, gormsync.WriteTypes(&types, newApp(t).sync))
	if os.Getenv("UPDATE_TYPES") != "" {
		require.NoError(t, os.WriteFile("models.d.ts", types.Bytes(), 0o600))
	}
	kept, err := os.ReadFile("models.d.ts")
	require.NoError(t, err)
	require.Equal(t, types.String(), string(kept))
}

func TestTheReadmeWalksThroughItInTheSameWords(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	steps := regexp.MustCompile(`(?m)^ *(\d\. .*)$`).FindAllStringSubmatch(welcome, -1)
	require.Len(t, steps, 5)
	for _, step := range steps {
		require.Contains(t, string(readme), step[1])
	}
}
