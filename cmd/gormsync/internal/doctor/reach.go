package doctor

import (
	"errors"
	"io/fs"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// Unreachable is the finding for a database that could not be opened or does not
// answer.
func Unreachable(err error) Finding {
	return Finding{Check: "server", Level: Error, Message: "the database cannot be used: " + strings.ReplaceAll(err.Error(), "\n", " "), Remedy: reach(err)}
}

func reach(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		switch pg.Code {
		case "28P01", "28000":
			return "mend the user and the password in the URL (special characters percent-encoded); if they are right, look at pg_hba.conf"
		case "3D000":
			return "create the database (CREATE DATABASE …), or mend its name in the URL"
		case "53300":
			return "make the pools of the application smaller, or max_connections larger"
		case "42501":
			return "GRANT CONNECT ON DATABASE … to this role"
		case "57P03":
			return "wait until the server has started, and look into its log if it does not"
		}
		return "look into the message, and into the server's log"
	}
	var connect *pgconn.ConnectError
	switch text := err.Error(); {
	case errors.As(err, &connect):
		return "start the server, or mend host and port in the URL; look at listen_addresses, firewalls, and sslmode"
	case errors.Is(err, fs.ErrNotExist):
		return "mend the path in the URL (sqlite:///absolute/path or sqlite://relative/path), or start the application once, which makes the file"
	case strings.Contains(text, "not a database"):
		return "mend the path in the URL; if it is the right one, the file is damaged or encrypted: put a backup back"
	case strings.Contains(text, "unable to open"), errors.Is(err, fs.ErrPermission):
		return "let this user read the file, and write to its folder, as SQLite's write-ahead log needs"
	}
	return "look into the message, and at the URL"
}
