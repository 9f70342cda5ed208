package actions

import (
	"strings"
	"testing"

	"github.com/erbridge/erbridge/connector/ersim"
)

// A host that reports success has not told that Defender has scanned when Defender says
// that it has not, or when nothing is said.
func TestDefenderThatHasNotScanned(t *testing.T) {
	for _, tt := range []struct {
		name, why string
		idle      int // commands that do nothing: the scan, and the question about it
	}{
		{"it never has", "has not scanned yet", 1},
		{"it says nothing", "said nothing", 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, ersim.Options{})
			h := b.windows()
			alert := b.raise(h, evil)
			b.sim.Inject(ersim.Fault{Kind: ersim.CommandIdle, Host: h.Identifier, Count: tt.idle})
			out := b.run("defender.scan", call("scan", alert, object{"host": h.Identifier}))
			if !strings.Contains(out.Unverified, tt.why) {
				t.Errorf("%s: %s; %s (%s)", out.State, out.Summary, out.Unverified, out.Error)
			}
		})
	}
}
