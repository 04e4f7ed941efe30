package main

import (
	"bytes"
	"context"
	"errors"
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
			if o.OldTransaction <= 0 {
				return usageError{errors.New("--old-transaction is how long a transaction may be open, such as 5m; it must be more than 0")}
			}
			o.Prefix = t.prefix
			return t.doctor(c.Context(), o)
		},
	}
	c.Flags().StringVar(&o.ListenDSN, "listen-dsn", "", "where bells come from, as Config.ListenDSN")
	c.Flags().DurationVar(&o.OldTransaction, "old-transaction", 5*time.Minute, "how long a transaction may be open")
	return c
}

func (t *tool) doctor(ctx context.Context, o doctor.Options) error {
	db, done, err := t.open()
	var usage usageError
	if errors.As(err, &usage) {
		return err
	}
	var findings []doctor.Finding
	if err == nil {
		defer done()
		findings, err = doctor.Examine(ctx, db, o)
	}
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		findings = append(findings, doctor.Unreachable(err))
	}
	return t.findings(findings)
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
