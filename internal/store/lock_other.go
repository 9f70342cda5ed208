//go:build !unix

package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

const lockFile = "lock"

// lock creates the lock file for exclusive use. Where there is no flock, a file
// left behind by a crash has to be removed by hand.
func lock(dir string) (*os.File, error) {
	path := filepath.Join(dir, lockFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if os.IsExist(err) {
		return nil, fmt.Errorf("%w, or a crash left %s behind; remove it when no other erbridge runs", ErrInUse, path)
	}
	return f, err
}

// unlock lets the next process in.
func unlock(f *os.File) error { return errors.Join(f.Close(), os.Remove(f.Name())) }
