package trackers

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/rhtmx/gormsync/models"
)

// lost is a field of a mutation that was in conflict, as it is remembered. It has no
// value: what a client may see by then is not what it might see when it was answered.
type lost struct {
	Field      string          `json:"field"`
	Version    int64           `json:"version"` // of the row before; 0 if it was never logged
	Theirs     time.Time       `json:"server_timestamp"`
	Mine       time.Time       `json:"client_timestamp"`
	Resolution models.Strategy `json:"resolution"`
}

// lostOf gives what is remembered of conflicts, as JSON; nil for none.
func lostOf(conflicts []models.Conflict, against []int64) (models.JSON, error) {
	if len(conflicts) == 0 {
		return nil, nil
	}
	all := make([]lost, len(conflicts))
	for i := range conflicts {
		c := &conflicts[i]
		all[i] = lost{c.Field, against[i], c.ServerTimestamp, c.ClientTimestamp, c.Resolution}
	}
	return json.Marshal(all)
}

// answerAgain completes an answer that is given again with the row as it is now and
// the conflicts as they were.
func (w *work) answerAgain(ctx context.Context, r models.PushResult, remembered models.JSON) (models.PushResult, error) {
	r = w.answer(r)
	if remembered == nil || !w.visible() {
		return r, nil
	}
	var all []lost
	if err := json.Unmarshal(remembered, &all); err != nil {
		return r, fmt.Errorf("gormsync: the conflicts of a mutation in %s are damaged: %w", w.log.tables.Mutations, err)
	}
	for i := range all {
		c, err := w.conflictAgain(ctx, &all[i])
		if err != nil {
			return r, err
		}
		if c != nil {
			r.Conflicts = append(r.Conflicts, *c)
		}
	}
	return r, nil
}

// conflictAgain gives a conflict with its values: the client's from the request, which
// is the same, and the server's from the log, if the client may read it there. Where
// it is not in the log any more it is the one that stands now, and nobody knows since
// when. It gives nil for a field that clients do not know now.
func (w *work) conflictAgain(ctx context.Context, was *lost) (*models.Conflict, error) {
	i, ok := w.p.byName[was.Field]
	if !ok || i >= w.p.visible {
		return nil, nil
	}
	c := &models.Conflict{
		Entity: w.t.Name, EntityID: w.id, Field: was.Field, Resolution: was.Resolution,
		ServerTimestamp: was.Theirs, ClientTimestamp: was.Mine, ClientValue: w.m.Data[was.Field],
	}
	scratch := reflect.New(w.t.Schema.ModelType).Elem()
	if value, err := w.p.cols[i].decode(ctx, scratch, c.ClientValue); err == nil {
		c.ClientValue = value
	}
	before, err := w.rowAt(ctx, was.Version)
	switch {
	case err != nil:
		return nil, err
	case before[was.Field] != nil:
		c.ServerValue = before[was.Field]
	case w.alive():
		c.ServerValue = models.JSON(w.image.col(i))
		if w.version() != was.Version {
			c.ServerTimestamp = time.Time{}
		}
	default:
		c.ServerTimestamp = time.Time{}
	}
	return c, nil
}

// rowAt gives the row as it was at a version; nil if the log has not got it, or not
// for this client.
func (w *work) rowAt(ctx context.Context, version int64) (map[string]models.JSON, error) {
	c, err := w.log.changeAt(ctx, w.pool, w.t.Name, w.id, version)
	if err != nil || c == nil || c.data == nil {
		return nil, err
	}
	if f := w.m.Filter; !f.All && (c.scope == nil || !slices.Contains(f.Scopes, *c.scope)) {
		return nil, nil
	}
	return parsed(c.data)
}
