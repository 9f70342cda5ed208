package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/sinks"
)

// TestSinksFiles: every file that is listed can be written, as it is.
func TestSinksFiles(t *testing.T) {
	list, _, code := erbridge(t, "", "sinks", "files")
	if code != 0 {
		t.Fatalf("exit code %d", code)
	}
	lines := strings.Split(strings.TrimSpace(list), "\n")
	if len(lines) < 6 {
		t.Errorf("list:\n%s", list)
	}
	for _, line := range lines {
		words := strings.Fields(line)
		out, stderr, code := erbridge(t, "", "sinks", "files", words[0], words[1])
		var want []byte
		for _, f := range sinks.Files(words[0]) {
			if f.Name == words[1] {
				want = f.Data
			}
		}
		if code != 0 || len(want) == 0 || !bytes.Equal([]byte(out), want) {
			t.Errorf("%s %s: %d bytes, exit code %d, %s; want %d bytes", words[0], words[1], len(out), code, stderr, len(want))
		}
	}
	for _, line := range [][]string{{"sentinal"}, {"sentinel", "x.json"}} {
		if _, stderr, code := erbridge(t, "", append([]string{"sinks", "files"}, line...)...); code != 3 || !strings.Contains(stderr, "lists them") {
			t.Errorf("%v: exit code %d, %s; want 3 and what to do", line, code, stderr)
		}
	}
}
