//go:build !linux

package dbtest

import "syscall"

// dieWithParent does nothing where the kernel has no parent death signal: a server whose test process was killed
// goes when the next run sweeps away its folder, because PostgreSQL stops without its data directory.
func dieWithParent(*syscall.SysProcAttr) {}
