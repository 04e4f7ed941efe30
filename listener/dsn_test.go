package listener_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/listener"
)

// Every DSN that GORM's driver takes leads the listener to the same server: found
// out from the pool, and given as Config.DSN.
func TestEveryDSN(t *testing.T) {
	t.Parallel()
	sockets, err := os.MkdirTemp("/tmp", "gormsync-") //nolint:usetesting // the path of a socket must be short
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(sockets)) })
	require.NoError(t, os.Chmod(sockets, 0o777))
	c := newCluster(t, dbtest.ClusterOptions{Settings: map[string]string{"unix_socket_directories": sockets}})
	u, err := url.Parse(c.URL())
	require.NoError(t, err)
	port := u.Port()
	role(t, c)
	authority := startTLS(t, c)
	passfile := filepath.Join(t.TempDir(), "pgpass")
	require.NoError(t, os.WriteFile(passfile, []byte("127.0.0.1:*:*:locked:p'a\\\\ss wörd\n"), 0o600))

	words := "host=127.0.0.1 port=" + port + " user=postgres dbname=postgres"
	address := "postgres://postgres@127.0.0.1:" + port + "/postgres"
	for name, dsn := range map[string]string{
		"URL":                address,
		"postgresql URL":     "postgresql" + address[len("postgres"):],
		"words":              words,
		"disable":            words + " sslmode=disable",
		"allow":              words + " sslmode=allow",
		"prefer":             words + " sslmode=prefer",
		"require":            words + " sslmode=require",
		"verify-ca":          words + " sslmode=verify-ca sslrootcert=" + authority,
		"verify-full":        words + " sslmode=verify-full sslrootcert=" + authority,
		"time zone":          words + " TimeZone=Europe/Berlin",
		"search path":        address + "?search_path=public",
		"options":            address + "?options=-c%20geqo%3Doff",
		"connect timeout":    words + " connect_timeout=2",
		"socket":             "host=" + sockets + " port=" + port + " user=postgres dbname=postgres",
		"socket URL":         "postgres://postgres@" + url.QueryEscape(sockets) + ":" + port + "/postgres",
		"session attributes": words + " target_session_attrs=read-write",
		"two hosts":          "host=127.0.0.1,127.0.0.1 port=1," + port + " user=postgres dbname=postgres",
		"two hosts URL":      "postgres://postgres@127.0.0.1:1,127.0.0.1:" + port + "/postgres",
		"host name":          "host=localhost port=" + port + " user=postgres dbname=postgres",
		"pass file":          "host=127.0.0.1 port=" + port + " user=locked dbname=postgres passfile=" + passfile,
		"password URL":       "postgres://locked:" + url.PathEscape(password) + "@127.0.0.1:" + port + "/postgres",
		"password words":     "host=127.0.0.1 port=" + port + ` user=locked dbname=postgres password='p\'a\\ss wörd'`,
		"exec mode":          words + " default_query_exec_mode=simple_protocol",
		"caches":             words + " description_cache_capacity=10 statement_cache_capacity=10",
		"channel binding":    words + " channel_binding=prefer",
		"encoding":           words + " client_encoding=SQL_ASCII datestyle=German",
		"application name":   words + " application_name=other",
	} {
		t.Run(name, func(t *testing.T) {
			db := pool(t, dsn)
			require.Equal(t, listener.Listening, modeOf(t, db, "").Mode, "found out from the pool")
			require.Equal(t, listener.Listening, modeOf(t, pool(t, c.URL()), dsn).Mode, "as Config.DSN")
		})
	}
	t.Run("promises", func(t *testing.T) {
		for _, dsn := range []string{words + " channel_binding=require sslmode=require", words + " require_auth=none"} {
			_, err := listener.New(listener.Config{Dialect: "postgres", DSN: dsn, Channel: "c"})
			require.ErrorContains(t, err, "cannot promise channel_binding=require or require_auth")
		}
		status := modeOf(t, pool(t, words+" require_auth=none"), "")
		require.Equal(t, listener.Polling, status.Mode)
		require.Contains(t, status.Reason, "Config.ListenDSN")
	})
	t.Run("own dialer", func(t *testing.T) {
		cfg, err := pgx.ParseConfig("postgres://postgres@nowhere.invalid/postgres?sslmode=require")
		require.NoError(t, err)
		var dialed atomic.Int64
		cfg.LookupFunc = func(context.Context, string) ([]string, error) { return []string{"192.0.2.1"}, nil }
		cfg.DialFunc = func(ctx context.Context, network, _ string) (net.Conn, error) {
			dialed.Add(1)
			return (&net.Dialer{}).DialContext(ctx, network, "127.0.0.1:"+port)
		}
		sqlDB := stdlib.OpenDB(*cfg)
		db, err := gorm.Open(postgres.New(postgres.Config{Conn: sqlDB}), &gorm.Config{Logger: logger.Discard})
		require.NoError(t, err)
		closePool(t, db)
		before := dialed.Load()
		require.Equal(t, listener.Listening, modeOf(t, db, "").Mode)
		require.Greater(t, dialed.Load(), before)
	})
	t.Run("another driver", func(t *testing.T) {
		db, err := gorm.Open(postgres.New(postgres.Config{DriverName: "postgres", DSN: words + " sslmode=disable"}), &gorm.Config{Logger: logger.Discard})
		require.NoError(t, err)
		closePool(t, db)
		status := modeOf(t, db, "")
		require.Equal(t, listener.Polling, status.Mode)
		require.Contains(t, status.Reason, "set Config.ListenDSN")
		require.Equal(t, listener.Listening, modeOf(t, db, words).Mode)
	})
}

// modeOf starts a listener and gives what becomes of it.
func modeOf(t *testing.T, db *gorm.DB, dsn string) (status listener.Status) {
	t.Helper()
	sqlDB, err := db.DB()
	require.NoError(t, err)
	l, err := listener.New(listener.Config{DB: sqlDB, Dialect: "postgres", DSN: dsn, Channel: "a Channel", Ring: func() {}, Logger: quiet})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.Run(ctx)
	}()
	defer func() {
		cancel()
		<-done
	}()
	until(t, 10*time.Second, "it is known whether it listens", func() bool {
		status = l.Status()
		return status.Mode == listener.Listening || status.Mode != listener.Off && status.LastError != ""
	})
	return status
}

const password = `p'a\ss wörd`

// role makes a role that has to give a password.
func role(t *testing.T, c *dbtest.Cluster) {
	t.Helper()
	db := pool(t, c.URL())
	require.NoError(t, db.Exec(`CREATE ROLE locked LOGIN PASSWORD 'p''a\ss wörd'`).Error)
	rules := filepath.Join(c.Dir(), "data", "pg_hba.conf")
	old, err := os.ReadFile(rules)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(rules, append([]byte("host all locked 127.0.0.1/32 scram-sha-256\n"), old...), 0o600))
	require.NoError(t, db.Exec("SELECT pg_reload_conf()").Error)
}

// startTLS gives the server a certificate of its own making. It gives the file of
// the authority.
func startTLS(t *testing.T, c *dbtest.Cluster) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	secret, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	data := filepath.Join(c.Dir(), "data")
	info, err := os.Stat(data)
	require.NoError(t, err)
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, text := range map[string][]byte{
		"server.crt": certificate, "server.key": pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: secret}),
	} {
		file := filepath.Join(data, name)
		require.NoError(t, os.WriteFile(file, text, 0o600))
		require.NoError(t, os.Chown(file, int(info.Sys().(*syscall.Stat_t).Uid), -1))
	}
	db := pool(t, c.URL())
	require.NoError(t, db.Exec("ALTER SYSTEM SET ssl = on").Error)
	require.NoError(t, db.Exec("SELECT pg_reload_conf()").Error)
	authority := filepath.Join(t.TempDir(), "authority.crt")
	require.NoError(t, os.WriteFile(authority, certificate, 0o600))
	until(t, 10*time.Second, "the server speaks TLS", func() bool {
		conn, err := pgx.Connect(t.Context(), fmt.Sprintf("%s&sslrootcert=%s", strings.Replace(c.URL(), "sslmode=disable", "sslmode=verify-full", 1), authority))
		if err != nil {
			return false
		}
		return conn.Close(t.Context()) == nil
	})
	return authority
}

// What a DSN leaves out comes from PostgreSQL's environment variables, as in any
// DSN of pgx.
func TestDSNFromEnvironment(t *testing.T) {
	d := dbtest.Postgres(t)
	cfg, err := pgx.ParseConfig(d.URL)
	require.NoError(t, err)
	db := d.Open(t)
	t.Setenv("PGHOST", cfg.Host)
	t.Setenv("PGPORT", fmt.Sprint(cfg.Port))
	t.Setenv("PGUSER", cfg.User)
	t.Setenv("PGPASSWORD", cfg.Password)
	t.Setenv("PGSSLMODE", "prefer")
	require.Equal(t, listener.Listening, modeOf(t, db, "dbname="+cfg.Database).Mode)
}
