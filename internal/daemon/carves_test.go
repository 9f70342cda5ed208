package daemon

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/evidence"
	"github.com/erbridge/erbridge/internal/soar"
)

// The daemon cleans up what a crash left in the folder of carves, and deletes what is
// too old, unless a run has to do with it that has not ended.
func TestCarvesAreKeptWithinTheirBounds(t *testing.T) {
	s := newSite(t)
	s.configure("carves: {keep: 1h}\n" + quickPoll)
	s.write("data/carves/LEFT/.lock", "")
	s.write("data/carves/LEFT/.part-1", "half an archive")
	d, _ := s.start()
	s.until(func() bool {
		_, err := os.Stat(s.path("data/carves/LEFT/.part-1"))
		return errors.Is(err, os.ErrNotExist)
	})

	now := time.Now().UTC()
	open, over, forgotten := soar.NewRunID(now), soar.NewRunID(now), soar.NewRunID(now)
	run := soar.Run{Playbook: "note-everything", Version: "v", Mode: soar.ModeEnforce, StartedAt: now, Wake: now.Add(time.Hour)}
	var change soar.Change
	for id, state := range map[soar.RunID]soar.RunState{open: soar.RunWaiting, over: soar.RunDone} {
		run.ID, run.State = id, state
		change.Runs = append(change.Runs, run)
	}
	if _, err := d.Store().Commit(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	before, err := evidence.New(s.path("data/carves"), evidence.Options{Now: func() time.Time { return now.Add(-2 * time.Hour) }})
	if err != nil {
		t.Fatal(err)
	}
	for session, id := range map[string]soar.RunID{"OPEN": open, "OVER": over, "FORGOTTEN": forgotten} {
		_, err := before.Take(t.Context(), evidence.Origin{Session: session, Host: "H"}, 0, evidence.Actor{Name: "step", Run: id}, func(_ context.Context, w io.Writer) error {
			_, err := io.WriteString(w, "evidence")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := d.carves.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	for session, want := range map[string]string{"OPEN": evidence.StateKept, "OVER": evidence.StateDeleted, "FORGOTTEN": evidence.StateDeleted} {
		if item, err := d.carves.Get(session); err != nil || item.State != want {
			t.Errorf("%s is %s, want %s: %v", session, item.State, want, err)
		}
	}
}

func TestCarvesNeedARestart(t *testing.T) {
	s := newSite(t)
	s.configure(quickPoll)
	d, _ := s.start()
	s.configure("carves: {keep: 1h}\n" + quickPoll)
	if _, err := d.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "carves changed, which needs a restart") {
		t.Errorf("reload: %v", err)
	}
}
