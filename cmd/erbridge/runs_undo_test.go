package main

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/actions"
)

// containedRuns are a run that contained a host and tagged it, and the one that waits to
// release the host; it returns both.
func containedRuns(t *testing.T, dir string, due time.Time) (run, back soar.RunID) {
	t.Helper()
	s, err := store.Open(t.Context(), filepath.Join(dir, "data"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	now := time.Now().UTC()
	run, back = soar.NewRunID(now), soar.NewRunID(now)
	var change soar.Change
	version := func(text string) string {
		pb, problems := playbooks.Parse("p.yaml", []byte(text), actions.All(actions.Deps{}))
		if problems != nil {
			t.Fatal(problems)
		}
		change.Playbooks = append(change.Playbooks, soar.PlaybookVersion{Hash: pb.Hash, Name: pb.Name, Source: pb.Source})
		return pb.Hash
	}
	entry := func(of soar.RunID, seq int, step string, kind soar.EntryKind, body any) {
		data, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		change.Entries = append(change.Entries, soar.Entry{Run: of, Seq: seq, At: now, Step: step, Kind: kind, Body: data})
	}
	contain := playbooks.Reversal{Do: "host.release", With: map[string]any{"host": "HOST-1", "rule": "r"}, After: 4 * time.Hour}
	change.Runs = []soar.Run{
		{
			ID: run, Playbook: "isolate", Mode: soar.ModeEnforce, State: soar.RunDone, StartedAt: now, EndedAt: now,
			Version: version("playbook: isolate\nmode: observe\nsteps: [{id: contain, do: host.contain, with: {host: HOST-1, for: 4h}}, {id: tag, do: host.tag, with: {host: HOST-1, tag: x}}]"),
		},
		{
			ID: back, Playbook: "undo-isolate", Mode: soar.ModeEnforce, State: soar.RunWaiting, Wake: due.Add(-15 * time.Minute), StartedAt: now,
			Version: version("playbook: undo-isolate\non: manual\nsteps: [{id: contain, do: host.release, with: {host: '${{ .input.contain.host }}'}}]"),
		},
	}
	entry(run, 1, "contain", soar.EntryIntent, playbooks.Intent{Action: "host.contain", Effect: playbooks.Once, With: map[string]any{"host": "HOST-1"}})
	entry(run, 2, "contain", soar.EntryResult, playbooks.Result{Action: "host.contain", State: soar.StepVerified, Summary: "blocked", Target: "HOST-1", Undo: &contain})
	entry(run, 3, "tag", soar.EntryIntent, playbooks.Intent{Action: "host.tag", Effect: playbooks.Repeatable, With: map[string]any{"host": "HOST-1", "tag": "x"}})
	entry(run, 4, "tag", soar.EntryResult, playbooks.Result{
		Action: "host.tag", State: soar.StepVerified, Undo: &playbooks.Reversal{Do: "host.untag", With: map[string]any{"host": "HOST-1", "tag": "x"}},
	})
	entry(back, 1, "", soar.EntryNote, playbooks.BeganNote{
		Text: "takes back", On: "undo", Extra: map[string]any{"input": map[string]any{"contain": contain.With}},
		Undo: &playbooks.UndoNote{Run: run, Playbook: "isolate", Due: due, Steps: []playbooks.UndoOf{
			{Step: "contain", Key: "contain", Action: "host.contain", Target: "HOST-1", Summary: "blocked", Undo: contain},
		}},
	})
	change.KV = []soar.KV{{Key: playbooks.UndoKeys(run) + "contain", Value: `{"run":"` + back.String() + `","key":"contain"}`}}
	if _, err := s.Commit(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return run, back
}

// What waits to be taken back is shown, moved and brought forward; the rest of the run is
// taken back by another one, once.
func TestUndoCommands(t *testing.T) {
	dir := t.TempDir()
	file := write(t, dir, "erbridge.yaml", goodConfig)
	write(t, dir, "playbooks/note.yaml", goodPlaybook)
	due := time.Now().UTC().Add(4 * time.Hour).Truncate(time.Second)
	run, back := containedRuns(t, dir, due)
	later := due.Add(2 * time.Hour)
	for _, tt := range []struct {
		line string
		code int
		want []string
	}{
		{"list", exitOK, []string{"takes back step contain of run " + run.String() + " at " + stamp(due)}},
		{"show " + run.String(), exitOK, []string{
			"taken back by host.release host=HOST-1 rule=r, by itself after 4h", "taken back by host.untag host=HOST-1 tag=x",
			"contain by run " + back.String() + " at " + stamp(due) + ", unless somebody extends it",
		}},
		{"show " + back.String(), exitOK, []string{
			"step contain of run " + run.String() + " (isolate), by itself", stamp(due) + "; erbridge runs extend " + back.String() + " --for 4h --reason TEXT moves it",
		}},

		{"extend " + run.String() + " --for 2h", exitUsage, []string{"--reason is needed"}},
		{"extend " + run.String() + " --reason x", exitUsage, []string{"either --for or --until"}},
		{"extend " + run.String() + " --reason x --for 2h --until 2026-01-01T00:00:00Z", exitUsage, []string{"either --for or --until"}},
		{"extend " + run.String() + " --reason x --for soon", exitUsage, []string{`--for "soon"`}},
		{"extend " + run.String() + " --reason x --until soon", exitUsage, []string{`--until "soon"`}},
		{"extend " + run.String() + " --reason x --until 2020-01-01T00:00:00Z", exitFailed, []string{"is not in the future"}},
		{"extend " + run.String() + " --reason x --for 2h --step tag", exitFailed, []string{"waits to be taken back by itself"}},
		{"extend 0000000000001 --reason x --for 2h", exitNotFound, []string{"0000000000001"}},
		{"extend " + run.String() + " --reason image --for 2h --by ann", exitOK, []string{"run " + back.String() + " takes back step contain at " + stamp(later)}},
		{"show " + back.String(), exitOK, []string{"says that it is to begin at " + stamp(later) + ": image"}},

		{"undo " + run.String(), exitUsage, []string{"--reason is needed"}},
		{"undo nothing --reason x", exitUsage, []string{"run id"}},
		{"undo 0000000000001 --reason x", exitNotFound, []string{"0000000000001"}},
		{"undo " + back.String() + " --reason x", exitFailed, []string{"takes back itself what run " + run.String() + " did, at", "erbridge runs cancel " + back.String()}},
		{"undo " + run.String() + " --step ghost --reason x", exitFailed, []string{"step ghost of run " + run.String() + " has not ended, or there is none"}},
		{"undo " + run.String() + " --reason drill --by ann", exitOK, []string{
			"takes it back; erbridge runs show ", "host.tag      begun    host.untag", "run " + back.String() + ", which was to take it back at",
		}},
		{"undo " + run.String() + " --reason drill --by ann", exitFailed, []string{"step tag: run ", "takes it back just now, and is waiting"}},
		{"list --playbook undo-isolate", exitOK, []string{"undo-isolate"}},
	} {
		given := append([]string{"runs"}, strings.Fields(tt.line)...)
		stdout, stderr, code := erbridge(t, "", append(given, "-c", file)...)
		for _, want := range tt.want {
			if code != tt.code || !strings.Contains(stdout+stderr, want) {
				t.Errorf("runs %s: exit code %d, no %q\n%s%s", tt.line, code, want, stdout, stderr)
			}
		}
	}
	stdout, _, _ := erbridge(t, "", "runs", "show", run.String(), "-c", file, "-o", "json")
	var shown runWithJournal
	if err := json.Unmarshal([]byte(stdout), &shown); err != nil || len(shown.TakenBack) != 2 || shown.TakenBack[0].Step != "contain" || shown.TakenBack[0].Run != back {
		t.Errorf("as JSON %+v: %v", shown.TakenBack, err)
	}
}
