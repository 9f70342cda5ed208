package playbooks

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// A server whose clock is behind or ahead shows our command with its own time. The
// look-up finds it all the same, and nothing is sent twice.
func TestLookUpByTheServersClock(t *testing.T) {
	for _, tt := range []struct {
		name          string
		ahead, offset time.Duration
	}{
		{"minutes behind, and nobody knows", -10 * time.Minute, 0},
		{"minutes ahead, and nobody knows", 10 * time.Minute, 0},
		{"hours behind", -2 * time.Hour, -2 * time.Hour},
		{"hours behind, roughly known", -2 * time.Hour, -2*time.Hour + 10*time.Minute},
		{"hours ahead", 2 * time.Hour, 2 * time.Hour},
	} {
		for _, action := range []string{"fake.once", "fake.marked"} {
			t.Run(tt.name+", "+action, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					j, server := newMemJournal(), newFakeServer()
					server.now = func() time.Time { return time.Now().Add(tt.ahead) }
					server.after = func(int) error { return fmt.Errorf("%w: connection reset", ErrUncertain) }
					actions := server.actions()
					set := loadText(t, actions, "playbook: p\nsteps: [{id: hit, do: "+action+"}]")
					o := EngineOptions{}
					if tt.offset != 0 {
						o.ClockOffset = func() time.Duration { return tt.offset }
					}
					_, stop := running(t, j, actions, set, o)
					j.put(t, testAlert("1"))
					time.Sleep(30 * time.Minute)
					stop()
					if n := len(server.done(action)); n != 1 || stateOf(j.all()) != "done" {
						t.Errorf("%d commands, runs %s", n, stateOf(j.all()))
					}
				})
			})
		}
	}
}

// The mark decides, whatever the times say; without one, the nearest time does.
func TestPick(t *testing.T) {
	sentAt := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	at := sentAt.Add
	old, near, after := Found{Ref: "old", At: at(-14 * time.Minute)}, Found{Ref: "near", At: at(time.Second)}, Found{Ref: "after", At: at(time.Minute)}
	for name, tt := range map[string]struct {
		list []Found
		want string
	}{
		"none":            {nil, ""},
		"the nearest":     {[]Found{old, near, after}, "near"},
		"the only one":    {[]Found{old}, "old"},
		"ours by mark":    {[]Found{near, {Ref: "ours", Mark: "m", At: at(-14 * time.Minute)}}, "ours"},
		"other's mark":    {[]Found{{Ref: "other", Mark: "n", At: at(0)}}, ""},
		"taken by others": {[]Found{{Ref: "taken", At: at(0)}, after}, "after"},
	} {
		t.Run(name, func(t *testing.T) {
			j := newMemJournal()
			j.entries[1] = []soar.Entry{{Run: 1, Seq: 1, Kind: soar.EntrySent, Ref: "taken"}}
			r := &runner{e: &Engine{journal: j}}
			if got, err := r.pick(t.Context(), tt.list, "m", sentAt); err != nil || got != tt.want {
				t.Errorf("picked %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}
