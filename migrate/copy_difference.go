package migrate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// difference says where the two sides of a table differ, and what to do.
func (w *copyWork) difference(ctx context.Context, want, got *checksum) error {
	t := want.table
	var columns []string
	for i, c := range t.columns {
		if want.columns[i] != got.columns[i] {
			columns = append(columns, fmt.Sprintf("%s (%s)", c.name, c.kind))
		}
	}
	what := "values have changed places between rows"
	switch {
	case want.rows != got.rows:
		what = fmt.Sprintf("the source has %d rows and the target %d", want.rows, got.rows)
	case len(columns) > 0:
		what = fmt.Sprintf("the %d rows differ between source and target in %s", want.rows, strings.Join(columns, ", "))
	}
	row, err := w.differentRow(ctx, want, got)
	if err != nil {
		return errors.Join(errors.New(what), err)
	}
	why := "somebody wrote to one of them meanwhile"
	if want.rows == got.rows && len(columns) > 0 {
		why += ", or the target's column keeps less than SQLite has, as numeric(6,2) does of 1.555: then mend the value in the source or change the column of the target"
	}
	return fmt.Errorf("%s%s; %s; %s", what, row, why, w.again())
}

// differentRow finds one row that differs; it says nothing of a table without a
// primary key.
func (w *copyWork) differentRow(ctx context.Context, want, got *checksum) (string, error) {
	t := want.table
	place := 0
	for place < checksumParts && want.parts[place] == got.parts[place] {
		place++
	}
	if place == checksumParts || !slices.ContainsFunc(t.columns, func(c copyColumn) bool { return c.key }) {
		return "", nil
	}
	source, target := map[string][]*string{}, map[string][]*string{}
	collect := func(into map[string][]*string) func([]*string) {
		return func(values []*string) {
			if part(t, w.seed, values) == place {
				into[t.keyOf(values)] = values
			}
		}
	}
	if err := cmp.Or(w.eachSource(ctx, t, collect(source)), w.eachTarget(ctx, t, collect(target))); err != nil {
		return "", err
	}
	all := maps.Clone(source)
	maps.Copy(all, target)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		s, inSource := source[key]
		d, inTarget := target[key]
		switch {
		case !inTarget:
			return fmt.Sprintf(", the row with %s for one is only in the source", t.naming(s)), nil
		case !inSource:
			return fmt.Sprintf(", the row with %s for one is only in the target", t.naming(d)), nil
		}
		for i, c := range t.columns {
			if spelling(c.kind, s[i]) != spelling(c.kind, d[i]) {
				return fmt.Sprintf(", the row with %s for one: its %s is %s in the source and %s in the target", t.naming(s), c.name, shown(s[i]), shown(d[i])), nil
			}
		}
	}
	return "", nil
}

// keyOf is the key of a row as both sides spell it.
func (t *copyTable) keyOf(values []*string) string {
	var key strings.Builder
	for i, c := range t.columns {
		if c.key {
			fmt.Fprintf(&key, "%q ", spelling(c.kind, values[i]))
		}
	}
	return key.String()
}

// naming names a row by its key, for people.
func (t *copyTable) naming(values []*string) string {
	var names []string
	for i, c := range t.columns {
		if c.key {
			names = append(names, c.name+" = "+shown(values[i]))
		}
	}
	return strings.Join(names, ", ")
}

func shown(v *string) string {
	if v == nil {
		return "NULL"
	}
	return fmt.Sprintf("%.80q", *v)
}
