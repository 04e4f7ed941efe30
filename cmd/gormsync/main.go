// Command gormsync looks after the log tables of gormsync: it makes and upgrades
// them, moves a database from SQLite to PostgreSQL, follows the feed, cleans up,
// and finds out what is wrong.
//
// The exit code is 0 when all went well, 1 when something failed, 2 when it was
// called in a wrong way, and 3 when doctor found something to do, or when migrate
// status or migrate plan say that an upgrade is due or a copy is not complete.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
