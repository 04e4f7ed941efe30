package trackers_test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/trackers"
)

var oracleSeed = flag.Uint64("oracle.seed", 1, "the seed of the random calls of TestOracle")

const (
	oracleWorlds = 5    // databases one after the other, each with a seed of its own
	oracleSteps  = 2000 // calls in each
	oracleCheck  = 500  // calls between looks at the whole
)

var oracleEntities = []trackers.Entity{
	{Model: &stock{}, FieldLog: true}, {Model: &leg{}, FieldLog: true}, tasks, {Model: &firm{}, FieldLog: true}, {Model: &badge{}, FieldLog: true},
	{Model: &pet{}, FieldLog: true}, {Model: &toy{}}, {Model: &tongue{}, FieldLog: true}, {Model: &person{}, FieldLog: true, Scope: "firm_id"}, {Model: &speaks{}, FieldLog: true},
}

// oracle makes calls by chance. What the calls do does not matter, as long as the
// log tells the same as the tables.
type oracle struct {
	*rand.Rand
	f     fixture
	steps int
}

// TestOracle lets chance make all kinds of calls, in transactions in
// transactions, some of which are rolled back. Repeat a run with its seed:
//
//	go test ./trackers -run TestOracle -oracle.seed=1
func TestOracle(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		t.Parallel()
		first := d
		for i := range uint64(oracleWorlds) {
			seed := *oracleSeed + i
			t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
				t.Logf("repeat it with -oracle.seed=%d", seed)
				world := first
				if i > 0 {
					world = map[string]func(testing.TB) *dbtest.DB{"sqlite": dbtest.SQLite, "postgres": dbtest.Postgres}[first.Dialect](t)
				}
				o := &oracle{Rand: rand.New(rand.NewPCG(seed, 0)), f: setup(t, world, oracleEntities)}
				o.run(t)
			})
		}
	})
}

func (o *oracle) run(t *testing.T) {
	t.Helper()
	for check := oracleCheck; o.steps < oracleSteps; check += oracleCheck {
		for o.steps < check {
			o.transaction(o.f.db, 0)
		}
		if check < oracleSteps { // at the end setup looks
			dbtest.Replay(t, o.f.log)
		}
	}
	require.Greater(t, len(o.f.changeRows(t)), oracleSteps/2, "the calls do too little")
}

// transaction makes some calls; every third one is given up.
func (o *oracle) transaction(db *gorm.DB, depth int) {
	fail := o.IntN(3) == 0
	work := func(tx *gorm.DB) error {
		for range 1 + o.IntN(20>>depth) {
			o.part(tx, depth)
		}
		if fail {
			return errStop
		}
		return nil
	}
	kind := o.IntN(12)
	switch {
	case kind == 0: // no transaction but those of GORM
		for range 3 {
			_ = o.step(o.session(db))
		}
	case kind == 1 && depth == 0:
		tx := db.Begin()
		if work(tx) != nil {
			tx.Rollback()
		} else {
			tx.Commit()
		}
	default:
		_ = db.Transaction(work)
	}
}

// part is a call inside a transaction, or a transaction or savepoint of its own.
func (o *oracle) part(tx *gorm.DB, depth int) {
	kind := o.IntN(12)
	switch {
	case kind == 0 && depth < 3:
		o.transaction(tx, depth+1)
	case kind == 1 && depth < 3:
		o.savepoint(tx, depth)
	case o.f.log.Dialect() == "postgres" && o.IntN(3) == 0:
		// An error would end the transaction for all that comes after it.
		_ = tx.Transaction(func(tx *gorm.DB) error { return o.step(o.session(tx)) })
	default:
		_ = o.step(o.session(tx))
	}
}

// savepoint uses SQL for what Transaction does by itself.
func (o *oracle) savepoint(tx *gorm.DB, depth int) {
	name := fmt.Sprintf("s%d", o.IntN(3))
	set, back := "SAVEPOINT "+name, "ROLLBACK TO SAVEPOINT "+name
	if o.IntN(2) == 0 {
		tx.Exec(set)
	} else {
		tx.SavePoint(name)
	}
	for range 1 + o.IntN(4) {
		o.part(tx, depth+1)
	}
	switch o.IntN(4) {
	case 0:
		tx.Exec(back)
	case 1:
		tx.RollbackTo(name)
	case 2:
		tx.Exec("RELEASE SAVEPOINT " + name)
	}
}

// session varies how a statement runs.
func (o *oracle) session(db *gorm.DB) *gorm.DB {
	switch o.IntN(12) {
	case 0:
		return db.Session(&gorm.Session{PrepareStmt: true})
	case 1:
		return db.Session(&gorm.Session{SkipDefaultTransaction: true})
	case 2:
		return db.Session(&gorm.Session{SkipHooks: true, CreateBatchSize: 1})
	}
	return db.Session(&gorm.Session{})
}

// step makes one call, mostly one that works.
func (o *oracle) step(db *gorm.DB) error {
	o.steps++
	kinds := []func(*gorm.DB) error{o.createStock, o.changeStock, o.changeStock, o.upsertStock, o.removeStock, o.legs, o.legs, o.task, o.task, o.task, o.people, o.links}
	err := kinds[o.IntN(len(kinds))](db)
	if errors.Is(err, gorm.ErrInvalidTransaction) {
		panic(err) // the test is wrong
	}
	return err
}

func (o *oracle) id(n int) int64     { return int64(o.IntN(n) + 1) }
func (o *oracle) word(n int) string  { return fmt.Sprintf("w%d", o.IntN(n)) }
func (o *oracle) fresh() string      { return fmt.Sprintf("f%d", o.steps) }
func (o *oracle) maybe(s string) any { return map[bool]any{true: s, false: nil}[o.IntN(3) > 0] }
func (o *oracle) ptr(s string) *string {
	if o.IntN(3) == 0 {
		return nil
	}
	return &s
}
