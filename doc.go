// Package gormsync makes a GORM application live: every change that its models
// go through is recorded in the change's own transaction, and clients follow the
// record.
//
// A change on the server:
//
//	db.Save(&todo)
//	   │  the same transaction: the row, and a row in each log
//	   ▼
//	COMMIT ──► bell ──► hub reads the log once ──► sessions ──► clients
//
// A client:
//
//	GET /sync/todos              a snapshot of the rows, and a cursor
//	WS  /sync/ws  subscribe      every change after the cursor, without a gap
//	GET /sync/todos?since=cursor the same by asking
//
// The log is the truth and the bell only says 'look': one that is lost costs time,
// never data.
//
// # Caveats
//
// Raw SQL (db.Exec, db.Raw), database triggers and ON DELETE CASCADE done by the
// database are not seen. Columns tagged json:"-" or gorm:"->:false" and those in
// Entity.Hide are in no log.
package gormsync
