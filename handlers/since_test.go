package handlers_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/internal/dbtest"
)

// 0, the empty text and none are all 'from nothing': what there is in a pull, and
// what comes from now on in a subscription.
func TestFromNothing(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		a := start(t, d, nil)
		a.save(t, Todo{ID: "before"})
		require.Equal(t, []string{"before"}, a.pull(t, ""))
		require.Equal(t, []string{"before"}, a.pull(t, "0"))
		a.dial(t, "/sync/ws", nil).subscribe(since(a.now(t, ""))) // the hub has read it
		for _, rest := range []string{"", `,"since":""`, `,"since":"0"`, `,"since":{}`, `,"since":{"todos":"0"}`, `,"since":null`} {
			s := a.dial(t, "/sync/ws", nil)
			s.subscribe(rest)
			id := "live" + rest
			a.save(t, Todo{ID: id})
			require.Equal(t, []string{"create " + id}, s.next().rows(), rest)
			require.NoError(t, a.db.Delete(&Todo{ID: id}).Error)
			require.Equal(t, []string{"delete " + id}, s.next().rows(), rest)

			s.send(`{"type":"sync","entity":"todos"` + rest + `}`)
			require.Equal(t, []string{"create before"}, s.next().rows(), rest)
			require.Equal(t, "synced", s.next().Type, rest)
			require.NoError(t, s.Close())
		}
		for _, query := range []string{"", "?since=", "?since=0"} {
			e := a.stream(t, query, nil)
			id := "live" + query
			a.save(t, Todo{ID: id})
			require.Equal(t, []string{"create " + id}, e.next().rows(), query)
		}
	})
}

// A client_id is as long as in a push at most.
func TestSubscribeClientID(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		s := start(t, d, nil).dial(t, "/sync/ws", nil)
		s.subscribe(fmt.Sprintf(`,"client_id":%q`, strings.Repeat("é", 64)))
		for _, id := range []string{strings.Repeat("x", 65), `a\u0000`} {
			s.send(`{"type":"subscribe","client_id":"` + id + `"}`)
			require.Equal(t, "invalid", s.next().Code)
		}
	})
}

// When the database fails amid the answer to a sync message, the client is told,
// and its connection stays.
func TestSyncWithoutDatabase(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		a := start(t, d, nil)
		a.save(t, Todo{ID: "a"})
		s := a.dial(t, "/sync/ws", nil)
		s.subscribe(since(a.now(t, "")))
		require.NoError(t, a.db.Exec(`ALTER TABLE todos RENAME TO away`).Error)
		s.send(`{"type":"sync","entity":"todos"}`)
		m := s.next()
		require.Equal(t, "error busy", m.Type+" "+m.Code)
		require.NoError(t, a.db.Exec(`ALTER TABLE away RENAME TO todos`).Error)
		s.send(`{"type":"sync","entity":"todos"}`)
		require.Equal(t, []string{"create a"}, s.next().rows())
		require.Equal(t, "synced", s.next().Type)
		a.save(t, Todo{ID: "b"})
		require.Equal(t, []string{"create b"}, s.next().rows())
	})
}

// Another database behind the same address, such as one that was restored, while
// clients are connected: they are told to take everything anew, go on live, and
// cursors of before are refused everywhere.
func TestEpochChangesUnderLiveConnections(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		a := start(t, d, nil)
		a.save(t, Todo{ID: "old"})
		before := a.now(t, "")
		s, f, e := a.dial(t, "/sync/ws", nil), a.dial(t, "/field-sync/ws", nil), a.stream(t, "?since="+before, nil)
		s.subscribe(since(before))
		f.subscribe(since(before))
		raw := a.db.Session(&gorm.Session{NewDB: true})
		require.NoError(t, raw.Exec(`UPDATE _rhtmx_sync_meta SET value = 'another' WHERE key = 'epoch'`).Error)
		a.save(t, Todo{ID: "unseen"}) // it rings
		for _, m := range []message{s.next(), f.next(), e.next()} {
			require.Equal(t, "reset", m.Type)
		}
		a.save(t, Todo{ID: "new", Title: "x"})
		seen := func(next func() message) message {
			m := next()
			for m.Change.EntityID == "unseen" { // when the hub has looked before it was saved
				m = next()
			}
			return m
		}
		live := seen(s.next)
		require.Equal(t, []string{"create new"}, live.rows())
		require.Equal(t, "new", seen(f.next).Change.EntityID)
		require.Equal(t, []string{"create new"}, seen(e.next).rows())

		res, err := http.Get(a.url("/sync/todos?since=" + before))
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, http.StatusGone, res.StatusCode)
		s.subscribe(since(before))
		m := s.next()
		require.Equal(t, "reset cursor_expired", m.Type+" "+m.Reason)
		require.Equal(t, "reset", a.stream(t, "?since="+before, nil).next().Type)
		s.subscribe(since(live.Cursor)) // the new ones are good
		a.save(t, Todo{ID: "newer"})
		require.Equal(t, []string{"create newer"}, s.next().rows())
	})
}
