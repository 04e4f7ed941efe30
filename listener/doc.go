// Package listener wakes up those who follow the log of one database. What it
// brings is only a bell: the log says what there is to see, so a bell that is
// late, doubled or lost costs time and never data.
//
// Between processes the bell is NOTIFY on PostgreSQL, sent after commits and
// never in a transaction of the application, and the data version of the file on
// SQLite. A poll stands behind both.
package listener
