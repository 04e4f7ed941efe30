//go:build !unix

package handlers

import "errors"

// writesDirectly: connections are written to by goroutines of their own here.
const writesDirectly = false

func writeNow(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }
