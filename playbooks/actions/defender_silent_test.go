package actions

import (
	"testing"

	"github.com/erbridge/erbridge/connector/ersim"
)

// A host that reports success and says nothing has not told that Defender has scanned.
func TestSilentDefenderVerifiesNothing(t *testing.T) {
	b := newBench(t, ersim.Options{})
	h := b.windows()
	alert := b.raise(h, evil)
	b.sim.Inject(ersim.Fault{Kind: ersim.CommandIdle, Host: h.Identifier, Count: 2}) // the scan, and the question about it
	out := b.run("defender.scan", call("scan", alert, object{"host": h.Identifier}))
	if out.Unverified == "" {
		t.Errorf("%s: %s (%s)", out.State, out.Summary, out.Error)
	}
}
