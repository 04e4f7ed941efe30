package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"

	"github.com/fatih/color"
	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitFailed = 1
	exitUsage  = 2
	exitFound  = 3
)

// errFound ends a command that did its work and has something to tell.
var errFound = errors.New("something is to be done")

// usageError is a wrong way to call the command.
type usageError struct{ error }

// tool is what all commands share.
type tool struct {
	out, err io.Writer
	json     bool
	noColor  bool
	database string
	prefix   string
}

// run is main without its process.
func run(ctx context.Context, args []string, out, stderr io.Writer) int {
	t := &tool{out: out, err: stderr}
	root := t.root()
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errFound):
		return exitFound
	}
	t.fail(err)
	var usage usageError
	if errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailed
}

func (t *tool) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "gormsync",
		Short: "Looks after the log tables of gormsync",
		Long: `Looks after the log tables of gormsync.

The database is a URL, as for gormsync.Open: postgres://user:password@host/name or
sqlite:///path/of/the/file.db. Give it with --database, or as DATABASE_URL.

Exit codes: 0 well, 1 failed, 2 wrong usage, 3 something is to be done (doctor has
findings, an upgrade of the tables is due, or a copy is not complete).`,
		SilenceUsage: true, SilenceErrors: true,
		PersistentPreRun: func(*cobra.Command, []string) {
			if t.database == "" { // not as the flag's default: help would show the password
				t.database = os.Getenv("DATABASE_URL")
			}
			if t.json || t.noColor {
				color.NoColor = true
			}
		},
		RunE: func(c *cobra.Command, args []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	flags := root.PersistentFlags()
	flags.StringVar(&t.database, "database", "", "URL of the database; default: DATABASE_URL")
	flags.StringVar(&t.prefix, "prefix", "", "beginning of the log tables' names, as Config.TablePrefix (default _rhtmx_)")
	flags.BoolVar(&t.json, "json", false, "write JSON, for programs")
	flags.BoolVar(&t.noColor, "no-color", false, "write no colours (nor with NO_COLOR set, nor into a file)")
	root.AddCommand(t.migrateCommand(), t.copyCommand(), t.tailCommand(), t.cleanupCommand(), t.doctorCommand())
	for _, c := range append(root.Commands(), root) {
		strict(c)
	}
	return root
}

// strict makes wrong arguments an error of usage.
func strict(c *cobra.Command) {
	c.Args = func(_ *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usageError{fmt.Errorf("gormsync knows no %q here; see gormsync --help", args[0])}
		}
		return nil
	}
	for _, sub := range c.Commands() {
		strict(sub)
	}
}

// fail says what went wrong, on stderr.
func (t *tool) fail(err error) {
	if t.json {
		_ = json.NewEncoder(t.err).Encode(map[string]string{"error": err.Error()})
		return
	}
	_, _ = fmt.Fprintln(t.err, color.RedString("gormsync:"), strings.TrimPrefix(err.Error(), "gormsync: "))
}

// printable takes out what a terminal would obey: clients choose their names and
// what is in their rows.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, s)
}

// print writes v as JSON, or text for people.
func (t *tool) print(v any, text func(*bytes.Buffer)) error {
	if t.json {
		return json.NewEncoder(t.out).Encode(v)
	}
	var buf bytes.Buffer
	text(&buf)
	_, err := buf.WriteTo(t.out)
	return err
}
