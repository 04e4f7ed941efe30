package main

import (
	"bytes"
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/fatih/color"
	"github.com/spf13/cobra"

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
rows and checksums of both sides are compared. Until then no application starts on
the target. A second copy into the same database waits for the first.`,
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
	c.Flags().BoolVar(&copier.Restart, "restart", false, "begin an unfinished copy anew: remove what it has copied")
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
