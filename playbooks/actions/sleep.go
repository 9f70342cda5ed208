package actions

import (
	"context"
	"time"

	"github.com/erbridge/erbridge/playbooks"
)

// Sleep are the arguments of sleep.
type Sleep struct {
	// For is how long the run waits, from 1s to 30d. The end stays the same when erbridge
	// is restarted meanwhile.
	For time.Duration `yaml:"for" required:"true"`
}

func init() {
	add(kind[Sleep]{
		Spec: playbooks.Spec{
			Name:    "sleep",
			Summary: "Lets time pass before the next step. In tests of playbooks it passes at once.",
			Effect:  playbooks.Reads,
			Output:  WaitOutput{},
			Example: "do: sleep\nwith:\n  for: 5m\n",
			Timeout: waitTimeout,
			Inside:  true,
			Waits:   true,
		},
		local: true,
		check: func(_ *Deps, in *Sleep, a *arguments) {
			if _, given := a.values["for"]; given && a.known("for") && !a.wrong("for") && (in.For < time.Second || in.For > maxWait) {
				a.refuse("for", "", "must lie between 1s and 30d")
			}
		},
		do: func(_ context.Context, d *Deps, _ playbooks.Call, in Sleep) (playbooks.Outcome, error) {
			return d.wait(d.Now().Add(in.For)), nil
		},
		poll: waitOn[Sleep],
	})
}
