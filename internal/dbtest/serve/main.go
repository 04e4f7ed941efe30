// Command serve runs a throw-away PostgreSQL for tests that are not written in Go:
// it writes the server's URL, and stops the server when its input ends.
package main

import (
	"errors"
	"io"
	"os"

	"github.com/rhtmx/gormsync/internal/dbtest"
)

func main() {
	if err := run(); err != nil {
		_, _ = os.Stderr.WriteString(err.Error() + "\n") // there is nowhere else to say it
		os.Exit(1)
	}
}

func run() error {
	cluster, err := dbtest.StartCluster(dbtest.ClusterOptions{})
	if err != nil {
		return err
	}
	_, err = os.Stdout.WriteString(cluster.URL() + "\n")
	if err == nil {
		_, err = io.Copy(io.Discard, os.Stdin)
	}
	return errors.Join(err, cluster.Remove())
}
