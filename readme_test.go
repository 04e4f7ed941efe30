package gormsync_test

import (
	"os"
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

func trimmed(code string) string {
	var lines []string
	for line := range strings.Lines(code) {
		lines = append(lines, strings.TrimSpace(line))
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}
