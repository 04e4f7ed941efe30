package listener_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync/listener"
)

func TestPollRingsAboutThatOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
		defer cancel()
		var pauses []time.Duration
		last := time.Now()
		listener.Poll(ctx, 2*time.Second, func() {
			pauses = append(pauses, time.Since(last))
			last = time.Now()
		})
		require.InDelta(t, 50, len(pauses), 10)
		for _, p := range pauses {
			require.GreaterOrEqual(t, p, 1500*time.Millisecond)
			require.LessOrEqual(t, p, 2500*time.Millisecond)
		}
		require.NotEqual(t, pauses[0], pauses[1], "the pauses do not vary")
	})
}
