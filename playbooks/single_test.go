package playbooks

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
)

// One action that a person asks for is a run like every other: with a journal, a record
// for the audit, and arguments that no expression reads.
func TestStartSingle(t *testing.T) {
	inBubble(t, func(t *testing.T, s *store.Store, server *fakeServer, actions map[string]Action) {
		put(t, s, testAlert("1"))
		e, stop := running(t, s, actions, loadText(t, actions), EngineOptions{})
		defer stop()
		stored, err := s.AlertByRef(t.Context(), "er-1")
		if err != nil {
			t.Fatal(err)
		}
		run, err := e.StartSingle(t.Context(), Single{
			Action: "fake.repeat", With: map[string]any{"a": "${{ .alert.id }}"}, Alert: &stored, By: "ann", Reason: "a click",
		})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		waitFor(t, s, func() bool {
			now, err := s.GetRun(t.Context(), run.ID)
			return err == nil && now.State.Ended()
		})
		now, err := s.GetRun(t.Context(), run.ID)
		if err != nil || now.State != soar.RunDone || now.Alert != "er-1" || now.Playbook != "by-hand-fake-repeat" {
			t.Errorf("run %+v, %v", now, err)
		}
		wantTexts(t, server, "${{ .alert.id }}")
		entries, err := s.Entries(t.Context(), run.ID)
		if err != nil || !strings.Contains(string(entries[0].Body), `"by":"ann"`) {
			t.Errorf("journal %s, %v", entries[0].Body, err)
		}

		for name, tt := range map[string]struct {
			order Single
			want  error
		}{
			"no such action": {Single{Action: "fake.nothing", Alert: &stored, By: "ann", Reason: "x"}, soar.ErrNotFound},
			"nobody":         {Single{Action: "fake.repeat", Alert: &stored, Reason: "x"}, ErrBadSingle},
			"no reason":      {Single{Action: "fake.repeat", Alert: &stored, By: "ann"}, ErrBadSingle},
			"no alert":       {Single{Action: "fake.repeat", By: "ann", Reason: "x"}, ErrBadSingle},
		} {
			if _, err := e.StartSingle(t.Context(), tt.order); !errors.Is(err, tt.want) {
				t.Errorf("%s: error %v, want %v", name, err, tt.want)
			}
		}
	})
}

// In observe mode it is observed, as everything is.
func TestStartSingleObserves(t *testing.T) {
	inBubble(t, func(t *testing.T, s *store.Store, server *fakeServer, actions map[string]Action) {
		put(t, s, testAlert("1"))
		e, stop := running(t, s, actions, loadText(t, actions), EngineOptions{Ceiling: soar.ModeObserve})
		defer stop()
		stored, err := s.AlertByRef(t.Context(), "er-1")
		if err != nil {
			t.Fatal(err)
		}
		run, err := e.StartSingle(t.Context(), Single{Action: "fake.repeat", With: map[string]any{"a": "x"}, Alert: &stored, By: "ann", Reason: "a click"})
		if err != nil || run.Mode != soar.ModeObserve {
			t.Fatalf("run %+v, %v", run, err)
		}
		waitFor(t, s, func() bool {
			now, err := s.GetRun(t.Context(), run.ID)
			return err == nil && now.State.Ended()
		})
		wantTexts(t, server)
	})
}
