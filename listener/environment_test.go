package listener_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/listener"
)

// The application's connection does not care for these variables, and so ours
// must not.
func TestForeignEnvironment(t *testing.T) {
	d := dbtest.Postgres(t)
	db := d.Open(t)
	for name, value := range map[string]string{
		"PGDATESTYLE": "ISO, DMY", "PGCLIENTENCODING": "LATIN1", "PGGEQO": "maybe", "PGHOSTADDR": "192.0.2.1", "PGTZ": "Europe/Berlin",
		"PGSSLROOTCERT": "system", "PGCONNECT_TIMEOUT": "1", "PGAPPNAME": "other", "PGMAXPROTOCOLVERSION": "latest",
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, value)
			require.Equal(t, listener.Listening, modeOf(t, db, "").Mode)
		})
	}
}

// lib/pq refuses these, whatever the DSN says: the reason names the variable, and
// others are told of changes through the pool.
func TestRefusedEnvironment(t *testing.T) {
	d := dbtest.Postgres(t)
	db := d.Open(t)
	bells := ears(t, d.URL)
	for _, name := range []string{
		"PGGSSENCMODE", "PGSSLCRL", "PGSSLCRLDIR", "PGKRBSRVNAME", "PGREQUIREPEER", "PGREQUIRESSL", "PGREALM", "PGGSSLIB",
		"PGGSSDELEGATION", "PGSSLCOMPRESSION", "PGREQUIREAUTH", "PGCHANNELBINDING", "PGSSLCERTMODE",
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, "")
			l, _, stop := run(t, db, listener.Config{Poll: -1})
			waitFor(t, l, listener.Polling)
			require.Contains(t, l.Status().Reason, "$"+name+" is not supported")
			require.Contains(t, l.Status().Reason, "unset the variable")
			l.Announce()
			require.NotEmpty(t, bells(300*time.Millisecond))
			stop()
		})
	}
}

// A role's idle_session_timeout is for others.
func TestIdleSessionTimeout(t *testing.T) {
	t.Parallel()
	c := newCluster(t, dbtest.ClusterOptions{Settings: map[string]string{"idle_session_timeout": "500ms"}})
	l, _, _ := run(t, pool(t, c.URL()), listener.Config{Poll: -1})
	waitFor(t, l, listener.Listening)
	since, db := l.Status().Since, pool(t, c.URL())
	l.Announce()
	until(t, 10*time.Second, "it announces", func() bool { return len(backends(t, db)) == 2 })
	ours := backends(t, db)
	<-time.After(2 * time.Second)
	require.Equal(t, since, l.Status().Since, "the connection was ended because it was idle")
	require.Empty(t, l.Status().LastError)
	db = pool(t, c.URL()) // the other one was idle
	require.ElementsMatch(t, ours, backends(t, db))
}
