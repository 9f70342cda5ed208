package lint_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/internal/testenv"
	"github.com/erbridge/erbridge/playbooks/library"
	"github.com/erbridge/erbridge/playbooks/lint"
)

// manyPlaybooks are the playbooks of the library again and again, under names of
// their own.
func manyPlaybooks(tb testing.TB, n int) []lint.File {
	tb.Helper()
	shipped, err := lint.Collect(library.FS, ".", func(name string) string { return name })
	if err != nil || len(shipped) == 0 {
		tb.Fatalf("%d playbooks in the library, %v", len(shipped), err)
	}
	files := make([]lint.File, n)
	for i := range files {
		from := shipped[i%len(shipped)]
		name := strings.TrimSuffix(from.Name, ".yaml")
		text := strings.Replace(string(from.Data), "playbook: "+name, fmt.Sprintf("playbook: %s-%d", name, i), 1)
		files[i] = lint.File{Name: fmt.Sprintf("%s-%d.yaml", name, i), Data: []byte(text)}
	}
	return files
}

// Two hundred playbooks, which is more than most will ever have, on one core.
func BenchmarkLint200Playbooks(b *testing.B) {
	files, actions := manyPlaybooks(b, 200), known()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	b.ReportAllocs()
	before := testenv.ProcessorTime(b)
	for b.Loop() {
		lint.Run(files, nil, actions)
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/200-playbooks")
	b.ReportMetric((testenv.ProcessorTime(b)-before).Seconds()/float64(b.N), "cpu-s/200-playbooks")
	testenv.ReportMachine(b, files[0].Data)
}
