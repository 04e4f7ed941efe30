//go:build unix

package dbtest

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// stopSignals are what PostgreSQL understands as its two shutdown modes.
var stopSignals = map[string]os.Signal{"fast": syscall.SIGINT, "immediate": syscall.SIGQUIT}

// account is whom PostgreSQL runs as.
type account struct {
	uid, gid int
}

// serverAccount is nil where PostgreSQL can run as ourselves. It refuses root, so root runs it as postgres, or nobody.
func serverAccount() (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		if found, err := user.Lookup(name); err == nil {
			return newAccount(found)
		}
	}
	return nil, errors.New("PostgreSQL refuses to run as root and there is no user postgres or nobody: add one, or run the tests as another user")
}

func newAccount(found *user.User) (*account, error) {
	uid, err := strconv.Atoi(found.Uid)
	if err != nil {
		return nil, fmt.Errorf("user %s has no numeric id: %w", found.Username, err)
	}
	gid, err := strconv.Atoi(found.Gid)
	if err != nil {
		return nil, fmt.Errorf("user %s has no numeric group: %w", found.Username, err)
	}
	return &account{uid: uid, gid: gid}, nil
}

// attributes has a command run as the account.
func (a *account) attributes() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{}
	if a != nil {
		attr.Credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
	}
	return attr
}

// own gives a file to the account.
func (a *account) own(path string) error {
	if a == nil {
		return nil
	}
	return os.Chown(path, a.uid, a.gid)
}

// tryLock locks the file until it is closed or this process ends, however it ends. It does not wait.
func tryLock(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}
