package dbtest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

const (
	// folderPrefix begins the name of every cluster's folder.
	folderPrefix = "gormsync-pg-"
	// lockName is the file in it that its process holds locked.
	lockName = "lock"
	// sweepAge spares folders whose process may be about to lock them.
	sweepAge = time.Minute
)

// folder is the temporary home of a cluster.
type folder struct {
	path string
	lock *os.File // held until remove, so that other processes leave the folder alone
}

// newFolder makes a folder that belongs to the owner. It also deletes those of test processes that were killed: they
// could not clean up after themselves, and each is some 40 MB.
func newFolder(owner *account) (*folder, error) {
	base := tempBase(owner)
	sweep(base)
	path, err := os.MkdirTemp(base, folderPrefix)
	if err != nil {
		return nil, err
	}
	f := &folder{path: path}
	if err := f.prepare(owner); err != nil {
		return nil, errors.Join(err, f.remove())
	}
	return f, nil
}

// prepare lets the owner in. The lock may fail: then the folder is not swept, should this process be killed.
func (f *folder) prepare(owner *account) error {
	lock, err := os.OpenFile(filepath.Join(f.path, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	f.lock = lock
	_ = tryLock(lock)
	return owner.own(f.path)
}

func (f *folder) remove() error {
	if f.lock != nil {
		_ = f.lock.Close() // a second remove finds it closed
	}
	return os.RemoveAll(f.path)
}

// tempBase is the folder for temporary files, or another if its owner-to-be could not get at what is in it.
func tempBase(owner *account) string {
	base := os.TempDir()
	if owner == nil || reachable(base) {
		return base
	}
	for _, other := range []string{"/tmp", "/var/tmp"} {
		if reachable(other) {
			return other
		}
	}
	return base
}

// reachable says whether any user may get at the path: all folders on the way must let others pass.
func reachable(path string) bool {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return false
	}
	for {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm()&0o001 == 0 {
			return false
		}
		parent := filepath.Dir(path)
		if parent == path {
			return true
		}
		path = parent
	}
}

// ownAll gives a folder and everything in it to the account.
func (a *account) ownAll(path string) error {
	return filepath.WalkDir(path, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return a.own(path)
	})
}

// sweep deletes the folders that nobody uses any more. What cannot be deleted is left for the next time.
func sweep(base string) {
	locks, _ := filepath.Glob(filepath.Join(base, folderPrefix+"*", lockName)) // no error: base is a plain path
	for _, lock := range locks {
		if abandoned(lock) {
			_ = os.RemoveAll(filepath.Dir(lock))
		}
	}
}

// abandoned says whether the process that made the lock is gone. The system unlocks what a dead process held.
func abandoned(lock string) bool {
	info, err := os.Lstat(lock)
	if err != nil || !info.Mode().IsRegular() || time.Since(info.ModTime()) < sweepAge {
		return false
	}
	f, err := os.OpenFile(lock, os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	return tryLock(f) == nil
}
