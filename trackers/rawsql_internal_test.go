package trackers

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWrittenTables(t *testing.T) {
	for sql, want := range map[string][]string{
		`SELECT * FROM todos FOR UPDATE`:                                                                    nil,
		`select 1; delete from todos`:                                                                       {"todos"},
		`  (UPDATE todos SET title = 'INSERT INTO lists')`:                                                  {"todos"},
		`update only "app"."todos" as t set x = 1 from lists`:                                               {"todos"},
		`UPDATE OR IGNORE [todos] SET x = 1`:                                                                {"todos"},
		"INSERT OR REPLACE INTO `to``dos` VALUES (1)":                                                       {"to`dos"},
		`insert into todos values (1) on conflict (id) do update set x = 1`:                                 {"todos"},
		`WITH d AS (DELETE FROM a.todos RETURNING *) INSERT INTO lists SELECT * FROM d`:                     {"todos", "lists"},
		`-- UPDATE todos SET x = 1` + "\n" + `/* DELETE FROM todos */ MERGE INTO lists USING todos ON true`: {"lists"},
		`TRUNCATE TABLE ONLY todos`:                                                                         {"todos"},
		`ALTER TABLE c ADD FOREIGN KEY (o) REFERENCES todos ON DELETE CASCADE ON UPDATE CASCADE`:            nil,
		`DO $fn$ BEGIN DELETE FROM todos; END $fn$`:                                                         nil,
		`UPDATE todos SET x = $1 WHERE y = $2`:                                                              {"todos"},
		`EXPLAIN UPDATE todos SET x = 1`:                                                                    nil,
		`EXPLAIN (analyze, buffers) UPDATE todos SET x = 1`:                                                 {"todos"},
		`UPDATE`:                              nil,
		`INSERT INTO`:                         nil,
		`DELETE FROM todos WHERE t = 'it''s'`: {"todos"},
		`SELECT 'unclosed; DELETE FROM todos`: nil,
	} {
		require.Equal(t, want, writtenTables(sql), sql)
	}
}

func FuzzWrittenTables(f *testing.F) {
	f.Add("WITH x AS (SELECT 1) UPDATE \"a\".b SET c = $1 -- x")
	f.Fuzz(func(_ *testing.T, sql string) { writtenTables(sql) })
}
