//go:build unix

package sinks_test

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks"
	"github.com/erbridge/erbridge/sinks/sinktest"
)

// A disk that is full takes part of a batch: nothing of it stays, and the sink
// goes on when there is room.
func TestFileFullDisk(t *testing.T) {
	// A limit on the size of files stands in for the full disk: writes beyond it
	// fail after taking what fits. It holds for the whole process, in which package
	// testing writes down what files are opened; the file is larger than that record.
	path := filepath.Join(t.TempDir(), "events.ndjson")
	sink := openFile(t, &sinks.FileSettings{Path: path}, sinks.Env{})
	large := sinktest.Event(1)
	large.Alert.Event["cmdline"] = strings.Repeat("x", 4<<20)
	if err := sink.Send(t.Context(), []soar.Event{large}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	restore := limitFileSize(t, uint64(info.Size())+100)
	err = sink.Send(t.Context(), sinktest.Events(3))
	restore()
	if got := sinktest.ClassOf(err); got != sinktest.Transient {
		t.Errorf("class %q, want transient: %v", got, err)
	}
	if got := readIDs(t, path); !slices.Equal(got, []string{"er-1"}) {
		t.Errorf("after the failure %v, want er-1 alone", got)
	}
	sendBatch(t, sink, 2)
	if got := readIDs(t, path); !slices.Equal(got, []string{"er-1", "er-2"}) {
		t.Errorf("events %v", got)
	}
}

// limitFileSize makes writes beyond a size fail in this process.
func limitFileSize(t *testing.T, limit uint64) (restore func()) {
	t.Helper()
	signal.Ignore(syscall.SIGXFSZ)
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: limit, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
			t.Fatal(err)
		}
		signal.Reset(syscall.SIGXFSZ)
	}
}

// A stop does not wait for another program that has the file locked.
func TestFileCancelledWhileLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.ndjson")
	other, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	if err := syscall.Flock(int(other.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	sink := openFile(t, &sinks.FileSettings{Path: path}, sinks.Env{})
	result := make(chan error, 1)
	go func() { result <- sink.Send(ctx, sinktest.Events(1)) }()
	cancel()
	if err := <-result; sinktest.ClassOf(err) != sinktest.Transient {
		t.Errorf("error %v, want a transient one", err)
	}
	if info, err := other.Stat(); err != nil || info.Size() != 0 {
		t.Errorf("the locked file was written to: %v, %v", info, err)
	}
}
