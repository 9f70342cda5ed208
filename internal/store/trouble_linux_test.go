package store

import (
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
)

// A file system of a few megabytes: here the kernel says that it is full.
func TestFullFileSystemRecoversByItself(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("left out: a file system of a few megabytes; mounting one needs root")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=8m,mode=0700"); err != nil {
		t.Skipf("left out: a file system of a few megabytes; mounting one: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		fillAndRecover(t, dir, "disk is full", func(*Store) (makeRoom func()) {
			ballast := filepath.Join(dir, "ballast")
			if err := os.WriteFile(ballast, make([]byte, 4<<20), 0o600); err != nil {
				t.Fatal(err)
			}
			return func() {
				if err := os.Remove(ballast); err != nil {
					t.Fatal(err)
				}
			}
		})
	})
}

// A limit on the size of files makes writes fail with EFBIG, which is an
// input/output error to SQLite: the store opens its connection anew.
func TestFailingDiskRecoversByItself(t *testing.T) {
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	set := func(l syscall.Rlimit) {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &l); err != nil {
			t.Fatal(err)
		}
	}
	defer set(before)
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		fillAndRecover(t, dir, "cannot write to disk", func(*Store) (makeRoom func()) {
			set(syscall.Rlimit{Cur: 3 << 20, Max: before.Max})
			return func() { set(before) }
		})
	})
}
