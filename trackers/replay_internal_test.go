package trackers

import (
	"database/sql/driver"
	"errors"
	"testing"
)

func BenchmarkReplay(b *testing.B) {
	t := &tape{cols: []string{"id"}, vals: [][]driver.Value{{int64(1)}}}
	for b.Loop() {
		rows, err := t.rows(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		for rows.Next() {
			var id int64
			if err := rows.Scan(&id); err != nil {
				b.Fatal(err)
			}
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			b.Fatal(err)
		}
	}
}
