package main

import (
	"bytes"
	"fmt"

	"github.com/fatih/color"
	"github.com/spf13/cobra"

	"github.com/rhtmx/gormsync/migrate"
)

func (t *tool) migrateCommand() *cobra.Command {
	c := &cobra.Command{Use: "migrate", Short: "Makes, upgrades or removes the log tables", RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	var yes bool
	down := &cobra.Command{
		Use: "down", Short: "Removes the log tables, and with them the whole log",
		RunE: func(c *cobra.Command, _ []string) error {
			if !yes {
				return usageError{fmt.Errorf("this removes the log for good, and every client starts again; say --yes to do it")}
			}
			return t.down(c)
		},
	}
	down.Flags().BoolVar(&yes, "yes", false, "yes, remove it")
	c.AddCommand(
		&cobra.Command{Use: "up", Short: "Makes the log tables or upgrades them, those of rhtmx-sync too", RunE: func(c *cobra.Command, _ []string) error { return t.up(c) }},
		down,
		&cobra.Command{Use: "plan", Short: "Shows the SQL that up would run", RunE: func(c *cobra.Command, _ []string) error { return t.plan(c) }},
		&cobra.Command{Use: "status", Short: "Tells which version the log tables are of, and what is in them", RunE: func(c *cobra.Command, _ []string) error { return t.status(c) }},
	)
	return c
}

func (t *tool) up(c *cobra.Command) error {
	db, done, err := t.open()
	if err != nil {
		return err
	}
	defer done()
	from, err := migrate.Version(c.Context(), db, t.prefix)
	if err != nil {
		return err
	}
	due, err := migrate.Plan(c.Context(), db, t.prefix)
	if err != nil {
		return err
	}
	stop := t.spin("upgrading")
	err = migrate.Up(c.Context(), db, t.prefix)
	stop()
	if err != nil {
		return err
	}
	return t.print(map[string]int{"from": from, "to": migrate.SchemaVersion}, func(w *bytes.Buffer) {
		if from == migrate.SchemaVersion && len(due) > 0 {
			fmt.Fprintf(w, "The log tables are of version %d already; what was missing in them is back.\n", from)
			return
		}
		if from == migrate.SchemaVersion {
			fmt.Fprintf(w, "The log tables are of version %d already.\n", from)
			return
		}
		fmt.Fprintf(w, "The log tables are of version %d now (before: %d).\n", migrate.SchemaVersion, from)
	})
}

func (t *tool) down(c *cobra.Command) error {
	db, done, err := t.open()
	if err != nil {
		return err
	}
	defer done()
	if err := migrate.Down(c.Context(), db, t.prefix); err != nil {
		return err
	}
	return t.print(map[string]bool{"removed": true}, func(w *bytes.Buffer) { fmt.Fprintln(w, "The log tables are gone.") })
}

func (t *tool) plan(c *cobra.Command) error {
	db, done, err := t.open()
	if err != nil {
		return err
	}
	defer done()
	statements, err := migrate.Plan(c.Context(), db, t.prefix)
	if err != nil {
		return err
	}
	if statements == nil {
		statements = []string{}
	}
	err = t.print(map[string][]string{"statements": statements}, func(w *bytes.Buffer) {
		if len(statements) == 0 {
			fmt.Fprintln(w, "-- nothing to do")
			return
		}
		fmt.Fprintln(w, "BEGIN;")
		for _, s := range statements {
			fmt.Fprintln(w, s+";")
		}
		fmt.Fprintln(w, "COMMIT;")
	})
	if err == nil && len(statements) > 0 {
		err = errFound
	}
	return err
}

func (t *tool) status(c *cobra.Command) error {
	db, done, err := t.open()
	if err != nil {
		return err
	}
	defer done()
	s, err := readStatus(c.Context(), db, t.prefix)
	if err != nil {
		return err
	}
	err = t.print(s, func(w *bytes.Buffer) {
		state := color.GreenString("up to date")
		switch {
		case s.RhtmxSync:
			state = color.YellowString("those of rhtmx-sync; gormsync migrate up takes them over, with their rows")
		case s.Version == 0:
			state = color.YellowString("not there; run gormsync migrate up")
		case s.Version < s.Latest:
			state = color.YellowString("version %d is there; run gormsync migrate up", s.Latest)
		case s.Due > 0:
			state = color.YellowString("but not whole; gormsync migrate plan shows what is missing, and gormsync migrate up puts it back")
		}
		if s.Copying {
			fmt.Fprintln(w, color.RedString("copy        not complete"), "(or another one is at work); run gormsync copy again to its end, or with --restart")
		}
		fmt.Fprintf(w, "log tables  version %d, %s\n", s.Version, state)
		if s.Version == 0 || s.Version == s.Latest && s.Due > 0 {
			return
		}
		fmt.Fprintf(w, "changes     %d\nfields      %d\n", s.Changes, s.Fields)
		if s.Oldest != nil {
			fmt.Fprintf(w, "oldest      %s\nnewest      %s\n", s.Oldest.Local().Format(stamp), s.Newest.Local().Format(stamp))
		}
		for _, e := range s.Entities {
			fmt.Fprintf(w, "entity      %s\n", printable(e))
		}
	})
	if err == nil && (s.Version != s.Latest || s.Due > 0 || s.Copying) {
		err = errFound
	}
	return err
}
