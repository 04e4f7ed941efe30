package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync/internal/dbtest"
)

// asProgram makes the test program be the example itself.
const asProgram = "GORMSYNC_EXAMPLE_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	dbtest.Main(m)
}

// program runs the example in a process of its own and gives its address.
func program(t *testing.T, db string) string {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-addr", "127.0.0.1:0", "-db", db)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		require.NoError(t, cmd.Process.Signal(os.Interrupt))
		err := cmd.Wait()
		var exit *exec.ExitError
		require.NotErrorAs(t, err, &exit, "the example did not end well")
	})
	address := regexp.MustCompile(`http://localhost:\d+`)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if found := address.FindString(lines.Text()); found != "" {
			return strings.Replace(found, "localhost", "127.0.0.1", 1)
		}
	}
	require.FailNow(t, "the example did not say where it listens")
	return ""
}

// follower is a WebSocket that follows the to-dos.
func follower(t *testing.T, address string) *websocket.Conn {
	t.Helper()
	conn, res, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(address, "http")+"/api/sync/ws", nil)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.WriteMessage(websocket.TextMessage, []byte(`{"type":"subscribe","entities":["todos"]}`)))
	require.Contains(t, nextFrame(t, conn), `"subscribed"`)
	return conn
}

func nextFrame(t *testing.T, conn *websocket.Conn) string {
	t.Helper()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(20*time.Second)))
	for {
		_, text, err := conn.ReadMessage()
		require.NoError(t, err)
		if !strings.Contains(string(text), `"heartbeat"`) {
			return string(text)
		}
	}
}

// save adds a to-do through one process.
func save(t *testing.T, address, title string) {
	t.Helper()
	form := url.Values{"title": {title}}
	req, err := http.NewRequest(http.MethodPost, address+"/todos", strings.NewReader(form.Encode()))
	require.NoError(t, err)
	req.Header.Set(echo.HeaderContentType, echo.MIMEApplicationForm)
	req.Header.Set(echo.HeaderAccept, echo.MIMEApplicationJSON)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { require.NoError(t, res.Body.Close()) }()
	require.Equal(t, http.StatusCreated, res.StatusCode)
	var todo Todo
	require.NoError(t, json.NewDecoder(res.Body).Decode(&todo))
}

// liveAcross saves in each process in turn; the sockets of all see every to-do. The
// bells have to be what brings them: on the average of many, they are far faster
// than the poll.
func liveAcross(t *testing.T, db string, processes int) {
	t.Helper()
	const saves = 20
	addresses, sockets := make([]string, processes), make([]*websocket.Conn, processes)
	for i := range addresses {
		addresses[i] = program(t, db)
		sockets[i] = follower(t, addresses[i])
	}
	for _, address := range addresses { // until all listen, changes come by the poll
		save(t, address, "warming up")
		for _, conn := range sockets {
			require.Contains(t, nextFrame(t, conn), "warming up")
		}
	}
	var total time.Duration
	for i := range saves {
		title := fmt.Sprintf("number %d", i)
		began := time.Now()
		save(t, addresses[i%processes], title)
		for _, conn := range sockets {
			require.Contains(t, nextFrame(t, conn), title)
		}
		total += time.Since(began)
	}
	mean := total / saves
	t.Logf("%d processes: request to the last socket after %v on the average", processes, mean.Round(time.Millisecond))
	require.Less(t, mean, 250*time.Millisecond, "the poll alone takes more")
}

func TestThreeProcessesOnPostgreSQL(t *testing.T) {
	liveAcross(t, dbtest.Postgres(t).URL, 3)
}

func TestTwoProcessesOnSQLite(t *testing.T) {
	liveAcross(t, "sqlite://"+filepath.ToSlash(filepath.Join(t.TempDir(), "todos.db")), 2)
}
