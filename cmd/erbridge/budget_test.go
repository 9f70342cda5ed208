package main

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/internal/daemon"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
)

// latchedBudget is a store in which the built-in budget has latched.
func latchedBudget(t *testing.T) (config string) {
	t.Helper()
	dir := t.TempDir()
	config = write(t, dir, "erbridge.yaml", goodConfig)
	write(t, dir, "playbooks/note.yaml", goodPlaybook)
	s, err := store.Open(t.Context(), filepath.Join(dir, "data"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	_, err = s.Commit(ctx, soar.Change{KV: []soar.KV{
		{Key: "guard/budget/fleet", Value: "40"},
		{Key: "guard/budget/latch/destructive/", Value: `{"at": "2026-11-22T03:00:00Z", "run": "0cn3fpqka0002", "action": "host.contain", "words": "a fourth host"}`},
	}})
	cancel()
	if err := errors.Join(err, <-ended, s.Close()); err != nil {
		t.Fatal(err)
	}
	return config
}

func TestBudgetCommands(t *testing.T) {
	config := latchedBudget(t)
	for _, tt := range []struct {
		name   string
		line   []string
		code   int
		stdout []string
		stderr string
	}{
		{"list", []string{"budget", "show"}, exitOK, []string{"BUDGET", "destructive", "0 of 3", "1h", "latched", "2026-11-22 03:00:00Z", "host.contain of run 0cn3fpqka0002"}, ""},
		{"list as JSON", []string{"budget", "show", "-o", "json", "--jq", ".[0].latched.words"}, exitOK, []string{`"a fourth host"`}, ""},
		{"one", []string{"budget", "show", "destructive"}, exitOK, []string{"5% of 40", "a fourth host", "calls of host.contain"}, ""},
		{"none", []string{"budget", "show", "detsructive"}, exitNotFound, nil, `budget "detsructive": not found`},
		{"without a reason", []string{"budget", "rearm", "destructive"}, exitUsage, nil, "--reason is needed"},
		{"another", []string{"budget", "rearm", "other", "--reason", "x", "--by", "ann"}, exitNotFound, nil, "there are destructive"},
		{"re-arm", []string{"budget", "rearm", "destructive", "--reason", "it was a drill", "--by", "ann"}, exitOK, []string{"re-armed: budget destructive counts anew"}, ""},
		{"again", []string{"budget", "rearm", "destructive", "--reason", "x", "--by", "ann"}, exitFailed, nil, "the budget is not latched"},
		{"afterwards", []string{"budget", "show", "destructive"}, exitOK, []string{"by " + daemon.SignedHere("ann") + ": it was a drill"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stdout, stderr, code := erbridge(t, "", append(tt.line, "-c", config)...)
			if code != tt.code || !strings.Contains(stderr, tt.stderr) {
				t.Errorf("exit code %d\n%s", code, stderr)
			}
			for _, words := range tt.stdout {
				if !strings.Contains(stdout, words) {
					t.Errorf("%q is missing:\n%s", words, stdout)
				}
			}
		})
	}
}
