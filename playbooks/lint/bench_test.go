package lint_test

import (
	"fmt"
	"strings"
	"testing"

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

// Two hundred playbooks, which is more than most will ever have.
func BenchmarkLint200Playbooks(b *testing.B) {
	files, actions := manyPlaybooks(b, 200), known()
	b.ResetTimer()
	for b.Loop() {
		lint.Run(files, nil, actions)
	}
}
