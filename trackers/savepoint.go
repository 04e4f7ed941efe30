package trackers

import (
	"errors"
	"strings"
)

// savepoint follows SAVEPOINT, ROLLBACK TO and RELEASE. It hears of them from
// GORM's Raw callback and not from ExecContext: with PrepareStmt a raw SAVEPOINT
// runs through a *sql.Stmt and never passes the ConnPool.
func (t *watchedTx) savepoint(sql string) {
	if len(sql) > 200 { // no savepoint's name is that long
		return
	}
	words := strings.Fields(strings.TrimRight(sql, "; \t\r\n"))
	if len(words) < 2 {
		return
	}
	name := strings.Trim(words[len(words)-1], "\"`")
	t.mu.Lock()
	defer t.mu.Unlock()
	switch strings.ToUpper(words[0]) {
	case "SAVEPOINT":
		t.frames = append(t.frames, frame{name: name})
	case "ROLLBACK": // a plain ROLLBACK has no frame of that name
		if i := t.frameOf(name); i > 0 {
			t.frames = append(t.frames[:i], frame{name: t.frames[i].name})
		}
	case "RELEASE":
		if i := t.frameOf(name); i > 0 {
			for _, f := range t.frames[i:] {
				t.frames[i-1].rows += f.rows
				t.frames[i-1].doomed = errors.Join(t.frames[i-1].doomed, f.doomed)
			}
			t.frames = t.frames[:i]
		}
	}
}

func (t *watchedTx) frameOf(name string) int {
	for i := len(t.frames) - 1; i > 0; i-- {
		if strings.EqualFold(t.frames[i].name, name) {
			return i
		}
	}
	return 0
}
