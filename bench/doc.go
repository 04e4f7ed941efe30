// Package bench holds the measurements behind the project's figures. Each
// benchmark prints one table: what is measured and what it is measured against
// run in turns in the same process, and medians and their ratios are shown,
// because machines differ and are busy.
//
//	make bench
package bench
