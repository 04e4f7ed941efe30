package handlers

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync/trackers"
)

// Where cursors of several entities cannot be read together, the first frame's is
// good for those it begins with; what is taken anew is left out, and nothing comes in.
func TestCoveredLeavesOutWhatIsTakenAnew(t *testing.T) {
	r := request{filters: []trackers.Filter{{Entity: "todos", All: true}, {Entity: "lists", All: true}, {Entity: "notes", All: true}}, reset: []string{"lists"}}
	all := coversOf(r.filters)
	require.Equal(t, all[:1], r.covered(all[:1]))
	require.Empty(t, r.covered(all[1:2]))
	require.Equal(t, coversOf([]trackers.Filter{r.filters[0], r.filters[2]}), r.covered(all))
	require.Equal(t, coversOf(r.filters), all, "they are the connection's")
}
