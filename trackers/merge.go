package trackers

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/rhtmx/gormsync/models"
)

// Edit tells who set a field last, and when.
type Edit struct {
	At     time.Time
	Client string // empty for the server's own changes
}

// Change is an edit of a field and what it made of it.
type Change struct {
	Edit
	Value models.JSON

	version int64
}

// Divergence is one row that a client and others may both have changed. Values are
// JSON as the log has them.
type Divergence struct {
	// Client are the fields that the client sent.
	Client map[string]models.JSON
	// Server is the row as it is.
	Server map[string]models.JSON
	// Base is the row that the client's edit began with; nil if nobody knows.
	Base map[string]models.JSON
	// Changed tells the last edit of each field that was changed since the base. A
	// field that is not there nobody but the client changed.
	Changed map[string]Edit
	// Others are, of the fields that others than the client changed since the base, the
	// last such changes. A field that the client itself changed after them is settled
	// by Resolve against them once more: what it made of them was not what the client
	// had. Nil if the base is not known.
	Others map[string]Change
	// Edit is the client's own. A zero time means that it does not say when.
	Edit
}

// Rule tells how a field is settled that both sides changed. Resolve comes before
// Strategy; it gives the value that is to stand, as JSON.
type Rule struct {
	Strategy models.Strategy
	Resolve  func(models.Conflict) (models.JSON, error)
}

// Merged is what is to be done with a row.
type Merged struct {
	// Set are the fields that get another value.
	Set map[string]models.JSON
	// Won are the fields for which the client's edit stands, also those whose value
	// was the same already.
	Won []string
	// Conflicts are the fields for which it does not. They lack the row's names.
	Conflicts []models.Conflict
}

// Merge settles the fields that a client sent. Fields that only one side changed
// since the base never conflict, and what the client sent as it was in the base is
// no edit. It returns the error of a Resolve.
func Merge(d Divergence, rule func(field string) Rule) (Merged, error) {
	m := Merged{Set: map[string]models.JSON{}}
	for _, field := range slices.Sorted(maps.Keys(d.Client)) {
		if base, known := d.Base[field]; known && bytes.Equal(d.Client[field], base) {
			continue
		}
		if err := m.settle(&d, field, rule(field)); err != nil {
			return m, err
		}
	}
	return m, nil
}

func (m *Merged) settle(d *Divergence, field string, r Rule) error {
	client, server := d.Client[field], d.Server[field]
	theirs, contested := d.Changed[field]
	same := bytes.Equal(client, server)
	unseen, is := d.overlaid(field, r)
	switch {
	case is && !same && !bytes.Equal(client, unseen.Value):
		c := d.conflict(field, models.Custom)
		c.ServerValue, c.ServerTimestamp = unseen.Value, unseen.At
		return m.resolve(c, server, r)
	case r.lets(d.Edit, theirs, contested):
		m.win(field, client, same)
	case same:
	case r.Resolve != nil:
		return m.resolve(d.conflict(field, models.Custom), server, r)
	default:
		m.Conflicts = append(m.Conflicts, d.conflict(field, cmp.Or(r.Strategy, models.LastWriteWins)))
	}
	return nil
}

// overlaid gives the change of others that the client did not know and has since
// changed again, if there is one and the application is to settle the field.
func (d *Divergence) overlaid(field string, r Rule) (Change, bool) {
	unseen, is := d.Others[field]
	return unseen, is && r.Resolve != nil && d.Edit.by(d.Changed[field])
}

// resolve leaves a field to the application.
func (m *Merged) resolve(c models.Conflict, server models.JSON, r Rule) error {
	value, err := r.Resolve(c)
	if err != nil {
		return err
	}
	if !bytes.Equal(value, c.ClientValue) {
		m.Conflicts = append(m.Conflicts, c)
	}
	m.win(c.Field, value, bytes.Equal(value, server))
	return nil
}

func (m *Merged) win(field string, value models.JSON, same bool) {
	m.Won = append(m.Won, field)
	if !same {
		m.Set[field] = value
	}
}

// lets tells whether the client's edit of a field stands.
func (r Rule) lets(mine, theirs Edit, contested bool) bool {
	switch {
	case !contested:
		return true
	case r.Resolve != nil:
		return mine.by(theirs)
	}
	switch r.Strategy {
	case models.ClientWins:
		return true
	case models.ServerWins, models.KeepBoth:
		return mine.by(theirs)
	default:
		return mine.At.IsZero() || mine.after(theirs)
	}
}

// by tells whether both edits are of the same client, which knew its own.
func (e Edit) by(other Edit) bool { return e.Client != "" && e.Client == other.Client }

// after orders edits by time, those of one time by client, and those of one client
// by their arrival.
func (e Edit) after(other Edit) bool {
	if !e.At.Equal(other.At) {
		return e.At.After(other.At)
	}
	return e.Client >= other.Client
}

func (d *Divergence) conflict(field string, resolution models.Strategy) models.Conflict {
	return models.Conflict{
		Field: field, Resolution: resolution,
		ServerValue: d.Server[field], ServerTimestamp: d.Changed[field].At,
		ClientValue: d.Client[field], ClientTimestamp: d.At,
	}
}

// Deletes tells whether a client's delete stands against the last edit of the row
// since the base; contested says that there was one. Of the same time the delete
// is the later one.
func (r Rule) Deletes(mine, theirs Edit, contested bool) bool {
	switch {
	case !contested:
		return true
	case r.Strategy == models.ClientWins:
		return true
	case r.Strategy == models.ServerWins, r.Strategy == models.KeepBoth:
		return mine.by(theirs)
	}
	return mine.At.IsZero() || !mine.At.Before(theirs.At)
}

// Revives tells whether a client's edit stands against the deletion of its row. A
// client that does not say when it made the edit may create the row anew, but not
// update it back to life.
func (r Rule) Revives(action models.Action, mine, deletion Edit) bool {
	switch r.Strategy {
	case models.ClientWins:
		return true
	case models.ServerWins, models.KeepBoth:
		return false
	}
	if mine.At.IsZero() {
		return action == models.Create
	}
	return mine.At.After(deletion.At)
}
