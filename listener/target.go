package listener

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"crypto/tls"

	"github.com/jackc/pgx/v5"
	"github.com/lib/pq"
)

// errNoAddress: the pool does not tell where it leads.
var errNoAddress = errors.New("the pool's driver is not pgx, so where it leads is not known")

// target is one server, reached one way. A DSN may name several, with TLS and
// without.
type target struct {
	cfg  *pgx.ConnConfig
	host string
	port uint16
	tls  *tls.Config
}

// same reports whether two targets are the same server, reached the same way.
func (t target) same(o target) bool {
	return t.host == o.host && t.port == o.port && (t.tls == nil) == (o.tls == nil)
}

// targets are the servers to try, the one first that was good last. They are
// asked for again before each connection: passwords change.
func (l *Listener) targets(ctx context.Context) ([]target, error) {
	cfg := l.parsed
	if cfg == nil {
		var err error
		if cfg, err = l.configOfPool(ctx); err != nil {
			return nil, err
		}
		if err := usable(cfg); err != nil {
			return nil, err
		}
	}
	all := []target{{cfg, cfg.Host, cfg.Port, cfg.TLSConfig}}
	for _, f := range cfg.Fallbacks {
		all = append(all, target{cfg, f.Host, f.Port, f.TLSConfig})
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, t := range all {
		if t.same(l.good) {
			return append(all[i:len(all):len(all)], all[:i]...), nil
		}
	}
	return all, nil
}

// configOfPool asks a connection of the application how it was made. So every DSN
// that GORM's driver takes will do, TLS, dialers and hooks included.
func (l *Listener) configOfPool(ctx context.Context) (cfg *pgx.ConnConfig, err error) {
	ctx, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	conn, err := l.cfg.DB.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("asking the application's pool for a connection: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	err = conn.Raw(func(driver any) error {
		c, ok := driver.(interface{ Conn() *pgx.Conn })
		if !ok {
			return errNoAddress
		}
		cfg = c.Conn().Config()
		return nil
	})
	return cfg, err
}

// errPromise: lib/pq cannot keep what the DSN asks for, and to connect all the
// same would be less safe than the application is.
var errPromise = errors.New("the listening connection cannot promise channel_binding=require or require_auth; give a Config.ListenDSN without them")

func usable(cfg *pgx.ConnConfig) error {
	if cfg.ChannelBinding == "require" || cfg.RequireAuth != "" {
		return errPromise
	}
	return nil
}

// errRefused: lib/pq refuses to connect because of a variable in the environment,
// whatever the DSN says. pgx, by which the application connects, ignores it.
var errRefused = errors.New("lib/pq, which listens, refuses the environment of this process")

// dsn is the target for lib/pq, which takes other DSNs than pgx. TLS, the address
// and time limits are the dialer's business. Every word stands here, or lib/pq
// would look into the environment for it, which pgx has done.
func (t target) dsn(more ...string) (string, error) {
	words := append([]string{
		"host=" + quoteWord(t.host), "port=" + strconv.Itoa(int(t.port)), "user=" + quoteWord(t.cfg.User), "dbname=" + quoteWord(t.cfg.Database),
		"sslmode=disable", "sslnegotiation=postgres", "sslrootcert=''", "connect_timeout=0", "target_session_attrs=any", "load_balance_hosts=disable",
		"application_name=gormsync", "client_encoding=UTF8", "datestyle='ISO, MDY'", "min_protocol_version=3.0", "max_protocol_version=3.0",
		"tz=''", "geqo=''", "service=''", // empty: not sent
		"options=" + quoteWord(t.cfg.RuntimeParams["options"]), // some poolers find the database by them
	}, more...)
	if t.cfg.Password != "" {
		words = append(words, "password="+quoteWord(t.cfg.Password))
	}
	dsn := strings.Join(words, " ")
	if _, err := pq.NewConfig(dsn); err != nil {
		return "", fmt.Errorf("%w: %w", errRefused, err)
	}
	return dsn, nil
}

// staysIdle is a parameter of a connection: that nobody ends it because it is idle,
// as a role's idle_session_timeout asks for. Poolers refuse it.
const staysIdle = "idle_session_timeout"

// dsn is the target for lib/pq, with the parameter unless somebody refused it.
func (l *Listener) dsn(t target) (string, error) {
	if l.plain.Load() {
		return t.dsn()
	}
	return t.dsn(staysIdle + "=0")
}

// refused reports whether a connection failed because of that parameter and it is
// worth trying without.
func (l *Listener) refused(err error) bool {
	var said *pq.Error
	return errors.As(err, &said) && strings.Contains(said.Message, staysIdle) && l.plain.CompareAndSwap(false, true)
}

var wordQuoter = strings.NewReplacer(`\`, `\\`, `'`, `\'`)

func quoteWord(s string) string { return "'" + wordQuoter.Replace(s) + "'" }
