package actions

import (
	"errors"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// A host that reports a removal and did nothing has its rule still: the next release is
// sent, whatever the server's records say. When the rule is gone, there is nothing to do.
func TestReleaseOfAHostThatReportedMoreThanItDid(t *testing.T) {
	for _, named := range []bool{false, true} {
		b := newBench(t, ersim.Options{})
		h := b.windows()
		alert := b.raise(h, evil)
		contained := b.run("host.contain", call("contain", alert, object{"host": h.Identifier}))
		with := object{"host": h.Identifier}
		if named {
			with["rule"] = contained.Output.(HostContainOutput).Rule
		}
		b.sim.Inject(ersim.Fault{Kind: ersim.CommandIdle, Host: h.Identifier, Count: 1})
		if out := b.run("host.release", call("first", alert, with)); out.State != soar.StepFailed || !strings.Contains(out.Error, "still has") {
			t.Fatalf("%s: %s", out.State, out.Error)
		}
		if err := b.ready("host.release", call("second", alert, with)); err != nil {
			t.Fatal(err)
		}
		if out := b.run("host.release", call("second", alert, with)); out.State != soar.StepVerified {
			t.Errorf("%s: %s", out.State, out.Error)
		}
		if err := b.ready("host.release", call("third", alert, with)); !errors.Is(err, playbooks.ErrNothingToDo) {
			t.Errorf("there is something to do: %v", err)
		}
	}
}
