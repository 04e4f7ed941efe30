package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
)

// Note is the model of the documents.
type Note struct {
	ID   string `gorm:"primaryKey"`
	Text string
}

// track makes notes in a database, with a log of them.
func track(t *testing.T, db *gorm.DB) {
	t.Helper()
	require.NoError(t, db.AutoMigrate(&Note{}))
	sync, err := gormsync.New(gormsync.Config{Entities: []gormsync.Entity{{Model: &Note{}}}})
	require.NoError(t, err)
	require.NoError(t, db.Use(sync))
	require.NoError(t, db.Create(&Note{ID: "n1", Text: "hello"}).Error)
}

// TestDocuments runs the shell blocks of the documents as they are written, with
// the command as a program.
func TestDocuments(t *testing.T) {
	folder := t.TempDir()
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(folder, "gormsync"), ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
	for document, prepare := range map[string]func(*testing.T, *gorm.DB){
		"operations.md": track,
		"sqlite-to-postgres.md": func(t *testing.T, db *gorm.DB) {
			t.Helper()
			require.NoError(t, db.AutoMigrate(&Note{}))
		},
	} {
		t.Run(document, func(t *testing.T) {
			d := dbtest.Postgres(t)
			prepare(t, d.Open(t))
			work := t.TempDir()
			todos, err := gormsync.Open("sqlite://" + filepath.Join(work, "todos.db"))
			require.NoError(t, err)
			track(t, todos)
			pool, err := todos.DB()
			require.NoError(t, err)
			require.NoError(t, pool.Close())
			text, err := os.ReadFile(filepath.Join("..", "..", "docs", document))
			require.NoError(t, err)
			blocks := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(text), -1)
			require.NotEmpty(t, blocks)
			for _, b := range blocks {
				cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", b[1])
				cmd.Dir = work
				cmd.Env = append(os.Environ(), "DATABASE_URL="+d.URL, "PATH="+folder+string(os.PathListSeparator)+os.Getenv("PATH"))
				out, err := cmd.CombinedOutput()
				require.NoError(t, err, "%s\n%s", b[1], out)
				require.NotEmpty(t, strings.TrimSpace(string(out)))
			}
		})
	}
}

// Every command that a document names exists.
func TestDocumentedCommands(t *testing.T) {
	documents, err := filepath.Glob(filepath.Join("..", "..", "docs", "*.md"))
	require.NoError(t, err)
	for _, document := range append(documents, filepath.Join("..", "..", "README.md")) {
		text, err := os.ReadFile(document)
		require.NoError(t, err)
		for _, m := range regexp.MustCompile("`gormsync ([a-z ]+)").FindAllStringSubmatch(string(text), -1) {
			code, _, stderr := call(t, append(strings.Fields(m[1]), "--help")...)
			require.Zero(t, code, "%s names %q: %s", document, m[0], stderr)
		}
	}
}
