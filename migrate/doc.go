// Package migrate makes, upgrades and removes the log tables of gormsync.
//
// The tables are AutoMigrate's work from the models of package models. What
// AutoMigrate cannot say stands in one place, beyond.go. Every step runs under a
// lock, so any number of processes may start at once.
package migrate
