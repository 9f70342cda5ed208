//go:build unix

package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// lockFile is beside the database, not the database itself: SQLite's own locks
// would be dropped when any descriptor of its file is closed (POSIX fcntl).
const lockFile = "lock"

// lock keeps a second process from writing to the folder. The kernel releases it
// when the process ends in whatever way; the file stays.
func lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		err = errors.Join(f.Truncate(0), writePID(f))
		if err == nil {
			return f, nil
		}
	} else if errors.Is(err, syscall.EWOULDBLOCK) {
		err = fmt.Errorf("%w by %s; stop it, or give this erbridge a folder of its own", ErrInUse, holder(f))
	}
	return nil, errors.Join(err, f.Close())
}

// unlock lets the next process in.
func unlock(f *os.File) error { return f.Close() }

func writePID(f *os.File) error {
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// holder names the process that wrote the lock file.
func holder(f *os.File) string {
	text := make([]byte, 20)
	n, _ := f.ReadAt(text, 0)
	pid := strings.TrimSpace(string(text[:n]))
	if _, err := strconv.Atoi(pid); err != nil {
		return "another process"
	}
	return "process " + pid
}
