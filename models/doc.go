// Package models is the vocabulary of gormsync: the rows of the log tables, the
// cursor that resumes a feed, and the JSON messages that travel to clients.
//
// It imports nothing else of this module, so that every other package can speak
// in its terms.
package models
