package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/connector/ersim"
)

// A job is taken back host by host: what it has changed, once.
func TestJobsUndo(t *testing.T) {
	sim, file, d := working(t, ersim.Options{Hosts: 60}, "")
	run := func(code int, line ...string) (stdout, stderr string) {
		t.Helper()
		stdout, stderr, got := erbridge(t, "", append([]string{"jobs"}, append(line, "-c", file)...)...)
		if got != code {
			t.Fatalf("erbridge jobs %s: exit code %d, want %d\n%s%s", strings.Join(line, " "), got, code, stdout, stderr)
		}
		return stdout, stderr
	}
	tagged := func() (n int) {
		for _, h := range sim.Hosts() {
			if slices.Contains(h.Tags, "seen") {
				n++
			}
		}
		return n
	}
	sim.SetTags("WEB-01", "seen") // by somebody else
	stdout, _ := run(exitOK, "start", "host.tag", "--with", "tag=seen", "--all", "--yes", "--reason", "to see")
	id := strings.Fields(stdout)[1]
	awaitRuns(t, d, 2)
	if n := tagged(); n != 60 {
		t.Fatalf("%d hosts are tagged", n)
	}

	stdout, _ = run(exitOK, "undo", id, "--reason", "it was too much")
	if begun, left := strings.Count(stdout, "begun"), strings.Count(stdout, "impossible"); begun != 59 || left != 1 {
		t.Errorf("%d hosts are taken back, and %d cannot be:\n%s", begun, left, stdout)
	}
	awaitRuns(t, d, 4)
	if n := tagged(); n != 1 {
		t.Errorf("%d hosts are still tagged", n)
	}
	if _, stderr := run(exitFailed, "undo", id, "--reason", "again"); strings.Count(stderr, "it was taken back already by run") != 10 || !strings.Contains(stderr, "; and 40 more") {
		t.Errorf("again:\n%s", stderr)
	}

	stdout, _ = run(exitOK, "start", "live.query", "--host", "WEB-01", "--with", "sql=select 1", "--reason", "to see")
	awaitRuns(t, d, 5)
	if _, stderr := run(exitFailed, "undo", strings.Fields(stdout)[1], "--reason", "no"); !strings.Contains(stderr, "no call with an effect") {
		t.Errorf("a job that only reads:\n%s", stderr)
	}
}
