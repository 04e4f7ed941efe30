package gormsync_test

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every Go block of the README and of docs stands, line for line, in a file that is
// compiled and run.
func TestDocumentsAreCompiled(t *testing.T) {
	var code strings.Builder
	files, err := filepath.Glob("docs*_test.go")
	require.NoError(t, err)
	for _, file := range append(files, "example_test.go") {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		code.Write(text)
	}
	documents, err := filepath.Glob("docs/*.md")
	require.NoError(t, err)
	for _, document := range append(documents, "README.md") {
		for _, b := range blocks(t, document, "go") {
			if strings.HasPrefix(b, "package main") { // TestQuickStart runs it as it is
				continue
			}
			require.Contains(t, trimmed(code.String()), trimmed(b), document)
		}
		text, err := os.ReadFile(document)
		require.NoError(t, err)
		for _, link := range regexp.MustCompile(`\]\(([^):#]+)\)`).FindAllStringSubmatch(string(text), -1) {
			require.FileExists(t, filepath.Join(filepath.Dir(document), link[1]))
		}
	}
	require.NotEmpty(t, blocks(t, "README.md", "go"))
}

// TestQuickStart builds the program of the README as it stands, but for its port,
// and asks it as a member of a team.
func TestQuickStart(t *testing.T) {
	var programs []string
	for _, b := range blocks(t, "README.md", "go") {
		if strings.HasPrefix(b, "package main") {
			programs = append(programs, b)
		}
	}
	require.Len(t, programs, 1)
	const address = `"localhost:8080"`
	require.Equal(t, 1, strings.Count(programs[0], address))
	folder := t.TempDir()
	source, program := filepath.Join(folder, "main.go"), filepath.Join(folder, "notes")
	require.NoError(t, os.WriteFile(source, []byte(strings.Replace(programs[0], address, `"127.0.0.1:0"`, 1)), 0o600))
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, source).CombinedOutput()
	require.NoError(t, err, "%s", out)

	for range 2 { // it may be started again
		cmd := exec.CommandContext(t.Context(), program)
		cmd.Dir = folder
		stdout, err := cmd.StdoutPipe()
		require.NoError(t, err)
		cmd.Stderr = os.Stderr
		require.NoError(t, cmd.Start())
		url := ""
		for lines := bufio.NewScanner(stdout); url == "" && lines.Scan(); {
			url = regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(lines.Text()) // Echo says where it listens
		}
		require.NotEmpty(t, url)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+url+"/api/sync/notes", http.NoBody)
		require.NoError(t, err)
		req.Header.Set("X-Team", "red")
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		body, err := io.ReadAll(res.Body)
		require.NoError(t, errors.Join(err, res.Body.Close()))
		require.Contains(t, string(body), `{"id":"n1","text":"hello","team_id":"red"}`)
		require.NotContains(t, string(body), `"n2"`)
		http.DefaultClient.CloseIdleConnections()
		require.NoError(t, cmd.Process.Kill())
		require.Error(t, cmd.Wait())
	}
}

func trimmed(code string) string {
	var lines []string
	for line := range strings.Lines(code) {
		lines = append(lines, strings.TrimSpace(line))
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}
