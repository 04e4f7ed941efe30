package handlers

import (
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

// topicKey is an entity under one scope, or all of it.
type topicKey struct {
	entity string
	all    bool
	scope  string
}

// topic finds the entries of a topicKey in the ring. It is there while somebody
// listens; entries of before have no link to it.
type topic struct {
	key   topicKey
	head  atomic.Uint64 // 1 + the newest entry's idx
	views map[*view]struct{}
}

// view is what a client may see. All sessions that see the same share it, and with
// it the frames that are sent to them.
type view struct {
	key      string
	filters  []trackers.Filter
	covers   []models.Cover
	names    []string
	topics   []*topic
	since    uint64 // from this entry of the ring on the topics' links are complete
	sessions map[*session]struct{}
	dirty    bool // something for it was published; the hub's
}

func newView(filters []trackers.Filter) *view {
	return &view{key: viewKey(filters), filters: filters, covers: coversOf(filters), names: namesOf(filters), sessions: map[*session]struct{}{}}
}

// viewKey tells views apart by what they see.
func viewKey(filters []trackers.Filter) string {
	var b strings.Builder
	for _, f := range filters {
		fmt.Fprintf(&b, "%q%v%t%q;", f.Entity, f.Generation, f.All, f.Scopes)
	}
	return b.String()
}

// sees reports whether an entry is among what the view shows.
func (v *view) sees(e *entry) bool {
	for i := range v.filters {
		f := &v.filters[i]
		if f.Entity != e.entity {
			continue
		}
		if f.All {
			return true
		}
		if e.scope == nil {
			continue
		}
		for _, s := range f.Scopes {
			if s == *e.scope {
				return true
			}
		}
	}
	return false
}

func (v *view) topicKeys() []topicKey { return topicsOf(v.filters) }

func topicsOf(filters []trackers.Filter) []topicKey {
	var keys []topicKey
	for _, f := range filters {
		if f.All {
			keys = append(keys, topicKey{entity: f.Entity, all: true})
			continue
		}
		for _, scope := range f.Scopes {
			keys = append(keys, topicKey{entity: f.Entity, scope: scope})
		}
	}
	return keys
}

func namesOf(filters []trackers.Filter) []string {
	names := make([]string, len(filters))
	for i, f := range filters {
		names[i] = f.Entity
	}
	return names
}

func coversOf(filters []trackers.Filter) []models.Cover {
	covers := make([]models.Cover, len(filters))
	for i, f := range filters {
		covers[i] = f.Cover()
	}
	return covers
}
