package testenv

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// measureFor is how long each of the machine's own rates is measured.
const measureFor = 300 * time.Millisecond

// ReportMachine adds what this machine can do at all to the metrics of a benchmark:
// 4 KiB appended and synced, and sample decoded from JSON, each per second. What
// the program reaches is read next to that.
func ReportMachine[T any](b *testing.B, sample T) {
	b.Helper()
	f, err := os.Create(filepath.Join(b.TempDir(), "fsync"))
	if err != nil {
		b.Fatal(err)
	}
	page := make([]byte, 4096)
	report(b, "machine-fsyncs/s", func() error {
		if _, err := f.Write(page); err != nil {
			return err
		}
		return f.Sync()
	})
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	data, err := json.Marshal(sample)
	if err != nil {
		b.Fatal(err)
	}
	report(b, "machine-json-alerts/s", func() error {
		var into T
		return json.Unmarshal(data, &into)
	})
}

func report(b *testing.B, unit string, once func() error) {
	b.Helper()
	n, start := 0, time.Now()
	for ; time.Since(start) < measureFor; n++ {
		if err := once(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)/time.Since(start).Seconds(), unit)
}
