package dbtest

import "syscall"

// dieWithParent has the kernel stop the server at once (SIGQUIT is PostgreSQL's immediate shutdown) when this process
// is killed, so that no server stays behind.
func dieWithParent(attr *syscall.SysProcAttr) {
	attr.Pdeathsig = syscall.SIGQUIT
}
