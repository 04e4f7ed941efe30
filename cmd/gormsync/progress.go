package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/rhtmx/gormsync/migrate"
)

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
		_ = json.NewEncoder(b.out).Encode(p) // nor a line that cannot be written
	case p.Step == "wait":
		_, _ = fmt.Fprintln(b.out, "waiting for another copy into this database, or for the server to notice that it was ended")
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

// spin shows on a terminal that something is at work of which nobody knows how
// much there is.
func (t *tool) spin(what string) (stop func()) {
	if t.json || !isTerminal(t.err) {
		return func() {}
	}
	bar := progressbar.NewOptions(-1, progressbar.OptionSetWriter(t.err), progressbar.OptionSetDescription(what), progressbar.OptionSpinnerType(14), progressbar.OptionClearOnFinish())
	return func() {
		_ = bar.Finish() // a bar that cannot be drawn is no reason to stop
	}
}
