//go:build unix

package handlers

import (
	"errors"
	"syscall"
)

// writesDirectly: the kernel says at once how much it takes.
const writesDirectly = true

// writeNow gives a socket as much of p as it takes without waiting, and that number
// of bytes; 0 for nothing now.
func writeNow(fd uintptr, p []byte) (int, error) {
	for {
		n, err := syscall.Write(int(fd), p)
		switch {
		case err == nil:
			return n, nil
		case errors.Is(err, syscall.EAGAIN):
			return 0, nil
		case !errors.Is(err, syscall.EINTR):
			return 0, err
		}
	}
}
