package bench

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
)

var (
	rounds = flag.Int("rounds", 31, "how often each measurement is taken")
	rtt    = flag.Duration("rtt", time.Millisecond, "the delay of a round trip to PostgreSQL in the tables with a network")
)

// The cluster of these measurements really writes to its disk, as one in use does.
func TestMain(m *testing.M) {
	if os.Getenv(fanoutEnv) != "" {
		if err := fanoutClients(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if url := os.Getenv(serveVariable); url != "" {
		if err := serve(url); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	cluster, err := dbtest.StartCluster(dbtest.ClusterOptions{Durable: true})
	if err == nil {
		err = os.Setenv("GORMSYNC_TEST_DATABASE_URL", cluster.URL())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := cluster.Remove(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// A variant is one way of doing the same work; it does it n times.
type variant func(n int) error

// compare takes turns and gives each variant's median time for one piece of work.
func compare(b *testing.B, n int, variants ...variant) []time.Duration {
	b.Helper()
	times := make([][]time.Duration, len(variants))
	for range *rounds {
		for i, run := range variants {
			start := time.Now()
			require.NoError(b, run(n))
			times[i] = append(times[i], time.Since(start)/time.Duration(n))
		}
	}
	medians := make([]time.Duration, len(variants))
	for i := range times {
		slices.Sort(times[i])
		medians[i] = times[i][len(times[i])/2]
	}
	return medians
}

func ratio(a, b time.Duration) string { return fmt.Sprintf("%.2f", float64(a)/float64(b)) }

// table is printed when it is complete.
type table struct {
	title string
	text  bytes.Buffer
}

func newTable(title string) *table { return &table{title: title} }

func (t *table) row(cells ...any) {
	for _, c := range cells {
		fmt.Fprintf(&t.text, "%v\t", c)
	}
	t.text.WriteByte('\n')
}

func (t *table) print(b *testing.B) {
	b.Helper()
	fmt.Printf("\n%s\n", t.title)
	out := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', tabwriter.AlignRight)
	_, err := t.text.WriteTo(out)
	require.NoError(b, errors.Join(err, out.Flush()))
}

// Item has ten columns of the usual kinds.
type Item struct {
	ID        int64 `gorm:"primaryKey"`
	Name      string
	Note      string
	Count     int
	Price     float64
	Done      bool
	Owner     string
	Due       *time.Time
	CreatedAt time.Time
	UpdatedAt time.Time
}

func item() *Item {
	return &Item{Name: "an item", Note: "with a note of some length, as people write them", Count: 3, Price: 1.25, Owner: "alice"}
}

// openItems opens a database for items, tracked or not.
func openItems(b *testing.B, url string, tracked bool) (*gorm.DB, *atomic.Int64) {
	b.Helper()
	db, err := gormsync.Open(url, &gorm.Config{Logger: logger.Discard})
	require.NoError(b, err)
	pool, err := db.DB()
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, pool.Close()) })
	count := countStatements(db)
	require.NoError(b, db.AutoMigrate(&Item{}))
	if tracked {
		sync, err := gormsync.New(gormsync.Config{Entities: []gormsync.Entity{{Model: &Item{}, FieldLog: true}}})
		require.NoError(b, err)
		require.NoError(b, db.Use(sync))
	}
	return db, count
}
