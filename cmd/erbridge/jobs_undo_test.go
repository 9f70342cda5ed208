package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/daemon"
	"github.com/erbridge/erbridge/playbooks"
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

// cutOff is a daemon that is gone after one order.
type cutOff struct {
	daemon.Control
	taken int
}

func (c *cutOff) Undo(ctx context.Context, o playbooks.UndoOrder) (playbooks.Undoing, error) {
	if c.taken++; c.taken > 1 {
		return playbooks.Undoing{}, errors.New("connection lost")
	}
	return c.Control.Undo(ctx, o)
}

// When the daemon goes away while a job is taken back, the same command goes on with the
// hosts that are left, and leaves the others alone.
func TestJobsUndoGoesOn(t *testing.T) {
	sim, file, d := working(t, ersim.Options{Hosts: 60}, "")
	stdout, stderr, code := erbridge(t, "", "jobs", "start", "host.tag", "--with", "tag=seen", "--all", "--yes", "--reason", "to see", "-c", file)
	if code != exitOK {
		t.Fatalf("jobs start: exit code %d\n%s", code, stderr)
	}
	id, err := jobID(strings.Fields(stdout)[1])
	if err != nil {
		t.Fatal(err)
	}
	awaitRuns(t, d, 2)

	there := configFlag{path: file}
	r, err := there.reader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	job, hosts, err := hostsToUndo(t.Context(), r, id)
	if err != nil {
		t.Fatal(err)
	}
	err = there.control(t.Context(), func(c daemon.Control) error {
		_, _, err := undoJob(t.Context(), &cutOff{Control: c}, &job, hosts, playbooks.UndoOrder{By: "ada", Reason: "too much"})
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "10 of 60 hosts are being taken back, and then: connection lost") {
		t.Fatalf("cut off: %v", err)
	}
	awaitRuns(t, d, 3)

	stdout, stderr, code = erbridge(t, "", "jobs", "undo", id.String(), "--reason", "too much", "-c", file)
	if code != exitOK || strings.Count(stdout, "begun") != 50 || !strings.Contains(stderr, "of 10 other hosts, nothing is left to take back") {
		t.Errorf("the same command: exit code %d\n%s%s", code, stdout, stderr)
	}
	awaitRuns(t, d, 4)
	for _, h := range sim.Hosts() {
		if slices.Contains(h.Tags, "seen") {
			t.Errorf("%s is still tagged", h.Name)
		}
	}
}
