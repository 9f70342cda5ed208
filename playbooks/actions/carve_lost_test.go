package actions

import (
	"errors"
	"testing"
	"time"

	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// A carve whose answer was lost is not taken for one that was never asked for while its
// host is away, where it may begin yet: it would be asked for again, and taken twice.
func TestLostCarveOfAHostThatIsAway(t *testing.T) {
	b := newBench(t, ersim.Options{})
	h := b.windows()
	c := call("x", soar.Alert{}, object{"host": h.Identifier, "path": `C:\a.exe`})
	since := time.Now().Add(-time.Minute)
	b.sim.SetOnline(h.Identifier, false)
	for _, action := range []string{"carve.file", "carve.quarantined"} {
		if found, err := b.actions[action].Find(t.Context(), c, since); err == nil || errors.Is(err, playbooks.ErrCannotTell) || len(found) != 0 {
			t.Errorf("%s, host away: found %v, %v", action, found, err)
		}
	}
	b.sim.SetOnline(h.Identifier, true)
	for _, action := range []string{"carve.file", "carve.quarantined"} {
		if found, err := b.actions[action].Find(t.Context(), c, since); err != nil || len(found) != 0 {
			t.Errorf("%s, host there: found %v, %v", action, found, err)
		}
	}
}
