//go:build unix

package evidence

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// lockFile locks an open file, for one or for many who only read. Without wait,
// somebody else's lock is ErrBusy. The lock ends with the file, so also with the
// process, in whatever way.
func lockFile(f *os.File, shared, wait bool) error {
	how := syscall.LOCK_EX
	if shared {
		how = syscall.LOCK_SH
	}
	if !wait {
		how |= syscall.LOCK_NB
	}
	for {
		switch err := syscall.Flock(int(f.Fd()), how); {
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EWOULDBLOCK):
			return ErrBusy
		case err != nil:
			return fmt.Errorf("lock %s: %w", f.Name(), err)
		default:
			return nil
		}
	}
}
