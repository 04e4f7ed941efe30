// Package trackers writes and reads the two logs of gormsync. It knows GORM and
// SQL, not HTTP.
//
// Writing: Capture puts itself around GORM's own create, update and delete
// steps. At the moment GORM sends its finished SQL, Capture extends it so that
// the statement itself answers with the rows before and after, and writes both
// logs in the same transaction.
//
// Reading: Changes and Fields follow the logs by cursor, one generic core for
// both.
package trackers
