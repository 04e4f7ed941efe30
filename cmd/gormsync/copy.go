package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/fatih/color"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/rhtmx/gormsync/migrate"
)

func (t *tool) copyCommand() *cobra.Command {
	var from, to string
	copier := migrate.Copier{}
	c := &cobra.Command{
		Use: "copy", Short: "Copies a database from SQLite to PostgreSQL",
		Long: `Copies the tracked tables and the log from SQLite to PostgreSQL. Stop the application
first, and start it once on the empty PostgreSQL database, so that it makes its
tables there. A copy that was cut off goes on when it is called again. At the end
rows and checksums of both sides are compared.`,
		RunE: func(c *cobra.Command, _ []string) error {
			if from == "" {
				from = t.database
			}
			if from == "" || to == "" {
				return usageError{errors.New("from where to where? Give --from sqlite://… (or --database) and --to postgres://…")}
			}
			copier.Prefix = t.prefix
			return t.copy(c, copier, from, to)
		},
	}
	c.Flags().StringVar(&from, "from", "", "URL of the SQLite database; default: --database")
	c.Flags().StringVar(&to, "to", "", "URL of the PostgreSQL database, not through a transaction pooler")
	c.Flags().StringArrayVar(&copier.Tables, "table", nil, "copy this table too, which is not tracked (may be repeated)")
	c.Flags().IntVar(&copier.Batch, "batch", 10_000, "rows in one transaction")
	return c
}

func (t *tool) copy(c *cobra.Command, copier migrate.Copier, from, to string) error {
	src, closeSrc, err := openURL(from)
	if err != nil {
		return err
	}
	defer closeSrc()
	dst, closeDst, err := openURL(to)
	if err != nil {
		return err
	}
	defer closeDst()
	bars := &bars{out: t.err, json: t.json}
	copier.Progress = bars.show
	report, err := copier.Copy(c.Context(), src, dst)
	bars.end()
	if err != nil {
		return err
	}
	return t.print(report, func(w *bytes.Buffer) {
		out := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
		for _, table := range report.Tables {
			_, _ = fmt.Fprintf(out, "%s\t%d rows\tchecksum %s\n", table.Table, table.Rows, table.Checksum)
		}
		_ = out.Flush() // as fmt.Fprint to the same place
		for _, name := range report.Left {
			fmt.Fprintln(w, color.YellowString("not copied:"), name, "(not tracked; copy it with --table)")
		}
		fmt.Fprintln(w, color.GreenString("Complete:"), "both sides are equal. Start the application on the new database.")
	})
}

// bars shows progress on a terminal as bars, and elsewhere as a line a table; as
// JSON it is one object a line.
type bars struct {
	out  io.Writer
	json bool
	bar  *progressbar.ProgressBar
	at   migrate.CopyProgress
}

func (b *bars) show(p migrate.CopyProgress) {
	switch {
	case b.json:
		_, _ = fmt.Fprintf(b.out, `{"step":%q,"table":%q,"done":%d,"total":%d}`+"\n", p.Step, p.Table, p.Done, p.Total)
	case !isTerminal(b.out):
		if p.Done == p.Total || p.Step != b.at.Step || p.Table != b.at.Table {
			_, _ = fmt.Fprintf(b.out, "%s %s: %d of %d\n", p.Step, p.Table, p.Done, p.Total)
		}
	default:
		if b.bar == nil || p.Step != b.at.Step || p.Table != b.at.Table {
			b.end()
			b.bar = progressbar.NewOptions64(p.Total, progressbar.OptionSetWriter(b.out), progressbar.OptionShowCount(), progressbar.OptionShowIts(),
				progressbar.OptionSetDescription(p.Step+" "+p.Table), progressbar.OptionSetPredictTime(true), progressbar.OptionUseANSICodes(true))
		}
		_ = b.bar.Set64(p.Done) // a bar that cannot be drawn is no reason to stop
	}
	b.at = p
}

func (b *bars) end() {
	if b.bar != nil {
		_ = b.bar.Exit()
		_, _ = fmt.Fprintln(b.out)
	}
	b.bar = nil
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
