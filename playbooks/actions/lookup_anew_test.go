package actions

import (
	"errors"
	"testing"
	"time"

	"github.com/erbridge/erbridge/connector/ersim"
)

// A host that was enrolled anew has another id: a command that it took before is not
// listed for it, and was received all the same.
func TestLookUpOfAHostThatWasEnrolledAnew(t *testing.T) {
	b := newBench(t, ersim.Options{})
	h := b.windows()
	contain := call("contain", b.raise(h, evil), object{"host": h.Identifier})
	since := time.Now().Add(-time.Minute)
	if _, err := b.actions["host.contain"].Do(t.Context(), contain); err != nil {
		t.Fatal(err)
	}
	find := func() (int, error) {
		found, err := b.actions["host.contain"].Find(t.Context(), contain, since)
		return len(found), err
	}
	if n, err := find(); n != 1 || err != nil {
		t.Fatalf("found %d, %v", n, err)
	}
	if id := b.sim.Enrol(h.Identifier, h.Identifier); id == 0 {
		t.Fatal("not enrolled")
	}
	if n, err := find(); n != 0 || !errors.Is(err, errIncomplete) {
		t.Errorf("found %d, %v; nobody can tell", n, err)
	}
}
