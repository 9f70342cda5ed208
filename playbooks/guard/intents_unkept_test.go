package guard

import (
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// A run whose beginning could not be written down begins anew as another one. What it
// waited for as the first must not wait for it.
func TestRunThatWasNeverKeptKeepsNobodyWaiting(t *testing.T) {
	g, d := newGuard(t, Settings{}), disk{}
	under := isolate(1, "contain", now)
	if got := d.send(t, g, under); !got.OK {
		t.Fatal(got.Words)
	}
	lost, other := isolate(2, "release", now.Add(time.Second)), isolate(3, "release", now.Add(2*time.Second))
	_, _, settle := g.Wait(lost, g.Ask(lost).Answers)
	waits(t, g, other, "asked before")
	settle(false)
	ended(t, g, under, soar.StepExecuted, 3)
	if got := g.Ask(other); !got.OK {
		t.Errorf("it waits for a run that there is not: %s", got.Words)
	}
}
