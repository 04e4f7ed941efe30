package main

import (
	"bytes"
	"fmt"
	"time"

	"github.com/fatih/color"
	"github.com/spf13/cobra"

	"github.com/rhtmx/gormsync/cmd/gormsync/internal/doctor"
)

func (t *tool) doctorCommand() *cobra.Command {
	o := doctor.Options{}
	c := &cobra.Command{
		Use: "doctor", Short: "Finds out what is wrong, and says what to do",
		Long: `Looks at the database as the role of the URL sees it, so give it the URL that the
application has. It changes nothing. Each finding comes with its remedy.`,
		RunE: func(c *cobra.Command, _ []string) error {
			db, done, err := t.open()
			if err != nil {
				return err
			}
			defer done()
			o.Prefix = t.prefix
			findings, err := doctor.Examine(c.Context(), db, o)
			if err != nil {
				return err
			}
			return t.findings(findings)
		},
	}
	c.Flags().StringVar(&o.ListenDSN, "listen-dsn", "", "where bells come from, as Config.ListenDSN")
	c.Flags().DurationVar(&o.OldTransaction, "old-transaction", 5*time.Minute, "how long a transaction may be open")
	return c
}

func (t *tool) findings(findings []doctor.Finding) error {
	bad := 0
	for _, f := range findings {
		if f.Level != doctor.OK {
			bad++
		}
	}
	err := t.print(map[string]any{"ok": bad == 0, "findings": findings}, func(w *bytes.Buffer) {
		for _, f := range findings {
			mark := map[doctor.Level]string{doctor.OK: color.GreenString("ok     "), doctor.Warning: color.YellowString("warning"), doctor.Error: color.RedString("error  ")}[f.Level]
			fmt.Fprintf(w, "%s  %-12s  %s\n", mark, f.Check, printable(f.Message))
			if f.Remedy != "" {
				fmt.Fprintf(w, "%*s→ %s\n", 23, "", printable(f.Remedy))
			}
		}
	})
	if err == nil && bad > 0 {
		err = errFound
	}
	return err
}
