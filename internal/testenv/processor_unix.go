//go:build unix

package testenv

import (
	"syscall"
	"testing"
	"time"
)

// ProcessorTime is how long processors have worked for this process. Unlike the time
// of day, it stands still while the machine does something else.
func ProcessorTime(t testing.TB) time.Duration {
	t.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
