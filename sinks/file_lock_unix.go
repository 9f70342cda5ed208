//go:build unix

package sinks

import (
	"errors"
	"os"
	"syscall"
)

// lockFile keeps other writers of the same file away until the file is unlocked
// or closed. flock belongs to the open file, so it also tells two sinks of one
// process apart.
func lockFile(f *os.File) (taken bool, err error) {
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}

func unlockFile(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }
