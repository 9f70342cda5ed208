package store

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/erbridge/erbridge/internal/soar"
)

// memoryChildEnv is how many alerts the child takes in before it tells its memory.
const memoryChildEnv = "ERBRIDGE_STORE_MEMORY_CHILD"

// memoryChild takes in alerts as a daemon does and prints its memory.
func memoryChild(dir string) {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	n, err := strconv.Atoi(os.Getenv(memoryChildEnv))
	fail(err)
	ctx, stop := context.WithCancel(context.Background())
	s, err := Open(ctx, dir, Options{})
	fail(err)
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	const batch, callers = 500, 4
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for first := c * batch; first < n; first += callers * batch {
				alerts := make([]soar.Alert, 0, batch)
				for i := first; i < min(first+batch, n); i++ {
					alerts = append(alerts, sampleAlert(i))
				}
				_, err := s.Commit(ctx, soar.Change{Alerts: alerts})
				fail(err)
			}
		})
	}
	wg.Wait()
	// What an engine and a sink would do in the meantime.
	for after := int64(0); ; {
		events, err := s.Feed(ctx, after, 500)
		fail(err)
		if len(events) == 0 {
			break
		}
		after = events[len(events)-1].Pos
	}
	status, err := os.ReadFile("/proc/self/status")
	fail(err)
	fmt.Println(statusKB(string(status), "VmRSS:"), statusKB(string(status), "VmHWM:"), s.sizeBytes())
	stop()
	fail(<-ended)
	fail(s.Close())
}

func statusKB(status, name string) string {
	_, after, _ := strings.Cut(status, name)
	fields := strings.Fields(after)
	if len(fields) == 0 {
		return "0"
	}
	return fields[0]
}

// BenchmarkMemory tells the resident memory of a process of its own after b.N
// alerts, and the size of its store: go test -bench Memory -benchtime 1000000x.
func BenchmarkMemory(b *testing.B) {
	exe, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.CommandContext(b.Context(), exe)
	cmd.Env = append(os.Environ(), crashChildEnv+"="+b.TempDir(), memoryChildEnv+"="+strconv.Itoa(b.N))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		b.Fatal(err)
	}
	var rss, peak, size float64
	if _, err := fmt.Sscan(string(out), &rss, &peak, &size); err != nil {
		b.Fatalf("%q: %v", out, err)
	}
	b.ReportMetric(rss/1024, "rss-MiB")
	b.ReportMetric(peak/1024, "peak-rss-MiB")
	b.ReportMetric(size/float64(b.N), "disk-bytes/alert")
}
