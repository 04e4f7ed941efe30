package listener

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A connection that comes and goes does not fill the log, and the log ends with
// the state that holds.
func TestFlappingIsLoggedNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		l, err := New(Config{Dialect: "postgres", Logger: slog.New(slog.NewTextHandler(&log, nil))})
		require.NoError(t, err)
		l.Begin()
		lines := func() int { return strings.Count(log.String(), "\n") }
		gone := errors.New("terminated by an administrator")
		for range 100 {
			l.deafen(gone)
			l.mute(gone)
			l.arrive(target{})
			pause(t.Context(), 100*time.Millisecond)
		}
		require.Equal(t, 3, lines(), "one that they cease, one that nobody is told, one that they are back:\n%s", log.String())
		for range 60 {
			l.deafen(gone)
			pause(t.Context(), time.Second)
		}
		require.Equal(t, 4, lines(), log.String())
		require.Contains(t, log.String()[strings.LastIndex(strings.TrimSpace(log.String()), "\n"):], "do not arrive")
		require.Contains(t, l.Status().Reason, "terminated by an administrator", "the reason hides the cause")
		l.arrive(target{})
		require.Equal(t, 5, lines(), log.String())
		require.Empty(t, l.Status().Reason)
	})
}
