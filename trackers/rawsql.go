package trackers

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// writtenTables lists the tables that a SQL text inserts into, updates, deletes
// from or truncates, without their schemas. It reads words and not grammar, so
// that every dialect's way of writing is understood well enough to warn.
func writtenTables(sql string) []string {
	if !mayWrite(sql) {
		return nil
	}
	words := sqlWords(sql)
	var tables []string
	for i := range words {
		if name := writtenAt(words, i); name != "" && !slices.Contains(tables, name) {
			tables = append(tables, name)
		}
	}
	return tables
}

// mayWrite sorts out queries without reading all of them.
func mayWrite(sql string) bool {
	sql = strings.TrimLeft(sql, " \t\r\n(")
	first := strings.IndexFunc(sql, func(r rune) bool { return !unicode.IsLetter(r) })
	if first < 0 {
		first = len(sql)
	}
	switch strings.ToUpper(sql[:first]) {
	case "EXPLAIN": // which only plans, unless it is told to measure
		return strings.Contains(sql, ";") || strings.Contains(strings.ToUpper(sql), "ANALY")
	case "SELECT", "PRAGMA", "SHOW", "SAVEPOINT", "RELEASE", "ROLLBACK", "SET":
		return strings.Contains(sql, ";")
	}
	return true
}

// writtenAt gives the table that the statement beginning at word i writes to.
func writtenAt(words []string, i int) string {
	at := func(j int) string {
		if j < 0 || j >= len(words) {
			return ""
		}
		return strings.ToUpper(words[j])
	}
	j := i + 1
	switch at(i) {
	case "INSERT", "REPLACE", "MERGE":
		for at(j) != "INTO" { // INSERT OR IGNORE INTO
			if j > i+3 || at(j) == "" {
				return ""
			}
			j++
		}
		j++
	case "UPDATE":
		switch at(i - 1) {
		case "FOR", "DO", "ON", "KEY": // a lock, an upsert, a foreign key
			return ""
		}
		if at(j) == "OR" { // UPDATE OR IGNORE
			j += 2
		}
	case "DELETE":
		if at(j) != "FROM" {
			return ""
		}
		j++
	case "TRUNCATE":
		if at(j) == "TABLE" {
			j++
		}
	default:
		return ""
	}
	if at(j) == "ONLY" {
		j++
	}
	for at(j+1) == "." {
		j += 2
	}
	if j >= len(words) {
		return ""
	}
	return words[j]
}

// sqlWords splits SQL into names, keywords and points. Texts and comments are
// left out, and quoted names lose their quotes.
func sqlWords(sql string) []string {
	var words []string
	for sql != "" {
		r, size := utf8.DecodeRuneInString(sql)
		switch {
		case strings.HasPrefix(sql, "--"):
			_, sql, _ = strings.Cut(sql, "\n")
		case strings.HasPrefix(sql, "/*"):
			_, sql, _ = strings.Cut(sql, "*/")
		case r == '\'':
			_, sql = quoted(sql, '\'')
		case r == '"' || r == '`':
			var name string
			name, sql = quoted(sql, byte(r))
			words = append(words, name)
		case r == '[':
			name, rest, _ := strings.Cut(sql[1:], "]")
			words, sql = append(words, name), rest
		case r == '$':
			sql = dollar(sql)
		case r == '.':
			words, sql = append(words, "."), sql[1:]
		case isWord(r):
			n := strings.IndexFunc(sql, func(r rune) bool { return !isWord(r) })
			if n < 0 {
				n = len(sql)
			}
			words, sql = append(words, sql[:n]), sql[n:]
		default:
			sql = sql[size:]
		}
	}
	return words
}

func isWord(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) }

// quoted takes a quoted text off sql; a doubled quote is one inside.
func quoted(sql string, quote byte) (text, rest string) {
	var b strings.Builder
	for i := 1; i < len(sql); i++ {
		if sql[i] != quote {
			b.WriteByte(sql[i])
			continue
		}
		if i+1 == len(sql) || sql[i+1] != quote {
			return b.String(), sql[i+1:]
		}
		b.WriteByte(quote)
		i++
	}
	return b.String(), ""
}

// dollar takes a placeholder or a dollar-quoted text of PostgreSQL off sql.
func dollar(sql string) string {
	end := strings.IndexByte(sql[1:], '$')
	if end < 0 {
		return sql[1:]
	}
	tag := sql[:end+2]
	if strings.IndexFunc(tag[1:len(tag)-1], func(r rune) bool { return !isWord(r) }) >= 0 {
		return sql[1:] // a placeholder, with another one later
	}
	_, rest, _ := strings.Cut(sql[len(tag):], tag)
	return rest
}
