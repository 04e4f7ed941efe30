// Package listener wakes a hub up. What it brings is only a bell: the log says
// what there is to see, so a bell that is late, doubled or lost costs time and
// never data.
package listener
