package handlers

import (
	"testing"

	"github.com/rhtmx/gormsync/trackers"
)

// FuzzInbound: no message of a client, plain or packed, does more than fail.
func FuzzInbound(f *testing.F) {
	for _, text := range []string{
		`{"type":"subscribe","entities":["todos"],"since":{"todos":"cAQAAKoPAEQAAyqrLvg"},"batch":true}`,
		`{"type":"sync","entity":"todos","since":"0"}`, `{"since":[[`, `{"type":1}`, "\x1f\x8b\x08\x00", "",
	} {
		f.Add([]byte(text))
	}
	filter := trackers.Filter{Entity: "todos", All: true}
	f.Fuzz(func(t *testing.T, message []byte) {
		if inner, err := inflate(message, 1<<10); err == nil {
			if len(inner) > 1<<10 {
				t.Fatal("inflated beyond the limit")
			}
			message = inner
		}
		m, err := parseInbound(message)
		if err != nil {
			return
		}
		r := request{}
		if err := r.place(filter, m.Since.of(filter.Entity)); err == nil && len(r.spans) > 0 && r.spans[0].from.IsZero() {
			t.Fatalf("%q follows the log from nothing", message)
		}
	})
}
