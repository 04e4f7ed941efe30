package trackers_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

// replica is a server with one row, as the merge sees it.
type replica struct {
	row     map[string]models.JSON
	base    map[string]models.JSON
	changed map[string]trackers.Edit
}

func newReplica(base map[string]models.JSON) *replica {
	return &replica{row: maps.Clone(base), base: base, changed: map[string]trackers.Edit{}}
}

// push merges a client's edit of the base into the row.
func (p *replica) push(t require.TestingT, e edit, s models.Strategy) trackers.Merged {
	m, err := trackers.Merge(trackers.Divergence{Client: e.fields, Server: p.row, Base: p.base, Changed: p.changed, Edit: e.Edit},
		func(string) trackers.Rule { return trackers.Rule{Strategy: s} })
	require.NoError(t, err)
	maps.Copy(p.row, m.Set)
	for _, f := range m.Won {
		p.changed[f] = e.Edit
	}
	return m
}

// edit is what a client sent.
type edit struct {
	trackers.Edit
	fields map[string]models.JSON
}

var (
	fieldNames = rapid.SampledFrom([]string{"a", "b", "c", "d"})
	jsonValues = rapid.Custom(func(t *rapid.T) models.JSON { return models.JSON(fmt.Sprint(rapid.IntRange(0, 3).Draw(t, "value"))) })
	rows       = rapid.Custom(func(t *rapid.T) map[string]models.JSON {
		row := map[string]models.JSON{}
		for _, f := range []string{"a", "b", "c", "d"} {
			row[f] = jsonValues.Draw(t, f)
		}
		return row
	})
)

func moments(minute int) time.Time { return time.Unix(int64(minute)*60, 0).UTC() }

// edits are of several clients, no two of one client at the same time.
var edits = rapid.Custom(func(t *rapid.T) []edit {
	n := rapid.IntRange(1, 6).Draw(t, "edits")
	all := make([]edit, n)
	seen := map[trackers.Edit]bool{}
	for i := range all {
		e := trackers.Edit{At: moments(rapid.IntRange(1, 4).Draw(t, "minute")), Client: fmt.Sprintf("c%d", rapid.IntRange(0, 3).Draw(t, "client"))}
		for seen[e] {
			e.At = e.At.Add(time.Second)
		}
		seen[e] = true
		all[i] = edit{e, rapid.MapOfN(fieldNames, jsonValues, 1, 4).Draw(t, "fields")}
	}
	return all
})

func TestMergeLastWriteWinsWhateverTheOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base := rows.Draw(t, "base")
		if rapid.Bool().Draw(t, "unknown base") {
			base = nil
		}
		all := edits.Draw(t, "edits")
		one, other := newReplica(base), newReplica(base)
		if base == nil {
			one.row, other.row = map[string]models.JSON{}, map[string]models.JSON{}
		}
		for _, e := range all {
			one.push(t, e, models.LastWriteWins)
		}
		for _, e := range rapid.Permutation(all).Draw(t, "order") {
			other.push(t, e, "")
		}
		require.Equal(t, one.row, other.row)
		require.Equal(t, one.changed, other.changed)
		for field, value := range want(base, all) {
			require.Equal(t, value, one.row[field], field)
		}
	})
}

// want says it in another way: of each field the greatest edit that changed it.
func want(base map[string]models.JSON, all []edit) map[string]models.JSON {
	row := maps.Clone(base)
	if row == nil {
		row = map[string]models.JSON{}
	}
	sorted := slices.SortedFunc(slices.Values(all), func(a, b edit) int {
		if c := a.At.Compare(b.At); c != 0 {
			return c
		}
		if a.Client < b.Client {
			return -1
		}
		return 1
	})
	for _, e := range sorted {
		for field, value := range e.fields {
			if base == nil || string(base[field]) != string(value) {
				row[field] = value
			}
		}
	}
	return row
}

func TestMergeReplaysChangeNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := newReplica(rows.Draw(t, "base"))
		s := rapid.SampledFrom([]models.Strategy{models.LastWriteWins, models.ServerWins, models.KeepBoth}).Draw(t, "strategy")
		all := edits.Draw(t, "edits")
		for _, e := range all {
			p.push(t, e, s)
			before := maps.Clone(p.row)
			require.Empty(t, p.push(t, e, s).Set)
			require.Equal(t, before, p.row)
		}
		if s != models.LastWriteWins {
			return
		}
		before := maps.Clone(p.row)
		for _, e := range rapid.Permutation(all).Draw(t, "again") {
			p.push(t, e, s)
		}
		require.Equal(t, before, p.row)
	})
}

func TestMergeDisjointFieldsNeverConflict(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := newReplica(rows.Draw(t, "base"))
		s := rapid.SampledFrom([]models.Strategy{"", models.LastWriteWins, models.ServerWins, models.ClientWins, models.KeepBoth}).Draw(t, "strategy")
		for i, f := range rapid.Permutation([]string{"a", "b", "c", "d"}).Draw(t, "fields") {
			e := edit{trackers.Edit{At: moments(rapid.IntRange(0, 3).Draw(t, "minute")), Client: fmt.Sprintf("c%d", i)}, map[string]models.JSON{f: jsonValues.Draw(t, "value")}}
			require.Empty(t, p.push(t, e, s).Conflicts)
			require.Equal(t, e.fields[f], p.row[f])
		}
	})
}

// ServerWins and KeepBoth: the first to arrive stands. ClientWins: the last.
func TestMergeStrategiesMeanWhatTheySay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base := rows.Draw(t, "base")
		s := rapid.SampledFrom([]models.Strategy{models.ServerWins, models.KeepBoth, models.ClientWins}).Draw(t, "strategy")
		p := newReplica(base)
		owner := map[string]string{} // who changed a field last
		for _, e := range edits.Draw(t, "edits") {
			before := maps.Clone(p.row)
			m := p.push(t, e, s)
			lost := map[string]models.Conflict{}
			for _, c := range m.Conflicts {
				lost[c.Field] = c
			}
			for field, value := range e.fields {
				mine := owner[field] == "" || owner[field] == e.Client
				switch {
				case string(value) == string(base[field]): // no edit
					require.Equal(t, before[field], p.row[field])
				case s == models.ClientWins || mine:
					require.Equal(t, value, p.row[field])
					require.NotContains(t, lost, field)
					owner[field] = e.Client
				case string(value) == string(before[field]): // both want the same
					require.NotContains(t, lost, field)
				default:
					require.Equal(t, before[field], p.row[field])
					require.Equal(t, models.Conflict{
						Field: field, ServerValue: before[field], ServerTimestamp: p.changed[field].At,
						ClientValue: value, ClientTimestamp: e.At, Resolution: s,
					}, lost[field])
				}
			}
		}
	})
}

func TestMergeResolve(t *testing.T) {
	theirs := trackers.Edit{At: moments(1), Client: "c1"}
	d := trackers.Divergence{
		Client:  map[string]models.JSON{"n": models.JSON("5"), "m": models.JSON("1")},
		Server:  map[string]models.JSON{"n": models.JSON("3"), "m": models.JSON("1")},
		Base:    map[string]models.JSON{"n": models.JSON("1"), "m": models.JSON("0")},
		Changed: map[string]trackers.Edit{"n": theirs, "m": theirs}, Edit: trackers.Edit{At: moments(2), Client: "c2"},
	}
	sum := func(c models.Conflict) (models.JSON, error) {
		require.Equal(t, []string{"3", "5"}, []string{string(c.ServerValue), string(c.ClientValue)})
		return models.JSON("8"), nil
	}
	m, err := trackers.Merge(d, func(string) trackers.Rule { return trackers.Rule{Resolve: sum} })
	require.NoError(t, err)
	require.Equal(t, map[string]models.JSON{"n": models.JSON("8")}, m.Set)
	require.Len(t, m.Conflicts, 1, "the client's value does not stand")
	require.Equal(t, models.Custom, m.Conflicts[0].Resolution)

	broken := errors.New("no")
	_, err = trackers.Merge(d, func(string) trackers.Rule {
		return trackers.Rule{Resolve: func(models.Conflict) (models.JSON, error) { return nil, broken }}
	})
	require.ErrorIs(t, err, broken)
}

// Whether a row is there at the end depends on whether the newest edit is the
// delete, and on nothing else.
func TestMergeDeleteAgainstUpdatesWhateverTheOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 5).Draw(t, "updates")
		deletion := trackers.Edit{At: moments(rapid.IntRange(0, 9).Draw(t, "delete")), Client: "d"}
		all, newest := []trackers.Edit{deletion}, time.Time{}
		for i := range n {
			e := trackers.Edit{At: moments(rapid.IntRange(1, 9).Draw(t, "update")), Client: fmt.Sprintf("c%d", i)}
			all = append(all, e)
			if e.At.After(newest) {
				newest = e.At
			}
		}
		var last, gone trackers.Edit
		edited, deleted := false, false
		for _, e := range rapid.Permutation(all).Draw(t, "order") {
			rule := trackers.Rule{Strategy: models.LastWriteWins}
			switch {
			case e == deletion && rule.Deletes(e, last, edited):
				deleted, gone = true, e
			case e == deletion:
			case !deleted || rule.Revives(models.Update, e, gone):
				deleted, edited = false, true
				if e.At.After(last.At) {
					last = e
				}
			}
		}
		require.Equal(t, !newest.After(deletion.At), deleted)
	})
}

// Several edits of one client on one base, which others have left: the last of them is
// what Resolve settles, against what the others made of the field.
func TestMergeResolvesAWholeQueue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base, theirs := models.JSON("0"), models.JSON(fmt.Sprint(rapid.IntRange(1, 3).Draw(t, "theirs")))
		other := trackers.Edit{At: moments(1), Client: "bo"}
		d := trackers.Divergence{
			Server: map[string]models.JSON{"a": theirs}, Base: map[string]models.JSON{"a": base}, Changed: map[string]trackers.Edit{"a": other},
			Others: map[string]trackers.Change{"a": {Edit: other, Value: theirs}}, Edit: trackers.Edit{Client: "c1"},
		}
		sum := func(c models.Conflict) (models.JSON, error) {
			require.Equal(t, []any{theirs, other.At}, []any{c.ServerValue, c.ServerTimestamp})
			return models.JSON(string(c.ServerValue) + string(c.ClientValue)), nil
		}
		for _, mine := range rapid.SliceOfN(rapid.IntRange(1, 3), 1, 5).Draw(t, "queue") {
			before := d.Server["a"]
			d.Client = map[string]models.JSON{"a": models.JSON(fmt.Sprint(mine))}
			m, err := trackers.Merge(d, func(string) trackers.Rule { return trackers.Rule{Resolve: sum} })
			require.NoError(t, err)
			want := models.JSON(string(theirs) + fmt.Sprint(mine))
			if fmt.Sprint(mine) == string(theirs) {
				want = theirs // both say so
			}
			if value, set := m.Set["a"]; set {
				require.Equal(t, want, value)
				d.Server["a"], d.Changed["a"] = value, d.Edit
			} else {
				require.Equal(t, want, before)
			}
			require.Equal(t, string(want) != fmt.Sprint(mine), len(m.Conflicts) > 0)
		}
	})
}
