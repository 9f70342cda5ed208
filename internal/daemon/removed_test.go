package daemon

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
)

func TestPlaceOfARemovedSinkIsKeptForAWhile(t *testing.T) {
	st, err := store.Open(t.Context(), t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- st.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := st.Commit(t.Context(), soar.Change{Sinks: []soar.SinkCursor{{Sink: "stays", Pos: 0}, {Sink: "goes", Pos: 0}}}); err != nil {
		t.Fatal(err)
	}
	began := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		after      time.Duration
		configured []string
		kept       bool
	}{
		{0, []string{"stays"}, true},
		{6 * 24 * time.Hour, []string{"stays"}, true},
		{6*24*time.Hour + time.Hour, []string{"stays", "goes"}, true}, // back, so the time begins anew
		{8 * 24 * time.Hour, []string{"stays"}, true},
		{14 * 24 * time.Hour, []string{"stays"}, true},
		{15 * 24 * time.Hour, []string{"stays"}, false},
	} {
		if err := forgetRemoved(t.Context(), st, tt.configured, began.Add(tt.after)); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]bool{"stays": true, "goes": tt.kept} {
			if _, known, err := st.SinkCursor(t.Context(), name); err != nil || known != want {
				t.Errorf("after %s: the place of %q is known: %v, %v; want %v", tt.after, name, known, err, want)
			}
		}
	}
	// What it had not delivered is not given up in silence.
	events, err := st.Feed(t.Context(), 0, 10)
	if err != nil || len(events) != 1 || events[0].Type != soar.EventTrouble || !strings.Contains(events[0].Text, `Sink "goes" is not in the configuration since 2026-11-30T03:00:00Z`) {
		t.Errorf("told: %+v, %v", events, err)
	}
	if left, err := st.KV(t.Context(), removedSinkPrefix); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
