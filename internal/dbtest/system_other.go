//go:build !unix

package dbtest

import (
	"errors"
	"os"
	"syscall"
)

// stopSignals: no other signal can be sent here. A killed server recovers at its next start, as after an immediate
// shutdown.
var stopSignals = map[string]os.Signal{"fast": os.Kill, "immediate": os.Kill}

// account stands for another user to run PostgreSQL as, which this system never needs.
type account struct{}

func serverAccount() (*account, error) { return nil, nil }

func (*account) attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }

func (*account) own(string) error { return nil }

// tryLock fails, so nothing is ever swept: without a lock nobody can tell whether a folder is still in use.
func tryLock(*os.File) error { return errors.New("files cannot be locked on this system") }
