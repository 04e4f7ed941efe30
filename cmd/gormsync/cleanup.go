package main

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/rhtmx/gormsync/trackers"
)

func (t *tool) cleanupCommand() *cobra.Command {
	var olderThan, mutations time.Duration
	c := &cobra.Command{
		Use: "cleanup", Short: "Removes old changes from both logs",
		Long: `Removes changes that are older than --older-than from both logs, as Config.Retention does
by itself. The newest change of a row that exists stays. Clients that were away for
longer take a new snapshot.`,
		RunE: func(c *cobra.Command, _ []string) error {
			if olderThan <= 0 {
				return usageError{errors.New("how old? Give --older-than, such as 168h for a week")}
			}
			return t.cleanup(c, olderThan, mutations)
		},
	}
	c.Flags().DurationVar(&olderThan, "older-than", 0, "age of what goes, such as 168h")
	c.Flags().DurationVar(&mutations, "mutations-older-than", 0, "also forget the answers to pushed changes of that age, as Config.MutationRetention (default: none)")
	return c
}

func (t *tool) cleanup(c *cobra.Command, olderThan, mutations time.Duration) (err error) {
	db, done, err := t.open()
	if err != nil {
		return err
	}
	defer done()
	if err := t.ready(c.Context(), db); err != nil {
		return err
	}
	log, err := trackers.NewLog(c.Context(), db, trackers.Config{Prefix: t.prefix})
	if err != nil {
		return err
	}
	stop := t.spin("cleaning up")
	removed, err := log.Cleanup(c.Context(), olderThan)
	stop()
	if err != nil {
		return err
	}
	answer := map[string]int64{"removed": removed}
	if mutations > 0 {
		if answer["forgotten"], err = log.ForgetMutations(c.Context(), mutations); err != nil {
			return err
		}
	}
	return t.print(answer, func(w *bytes.Buffer) {
		fmt.Fprintf(w, "%d changes removed\n", removed)
		if mutations > 0 {
			fmt.Fprintf(w, "%d answers forgotten\n", answer["forgotten"])
		}
	})
}
