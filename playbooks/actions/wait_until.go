package actions

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/erbridge/erbridge/playbooks"
)

// WaitUntil are the arguments of wait.until.
type WaitUntil struct {
	// Time is when the run goes on: a point in time such as `2026-05-04T08:00:00+02:00`, at
	// most 30 days ahead; one that is over is no wait. Or a time of day such as `08:00`:
	// the next one there is.
	Time string `yaml:"time" required:"true" example:"\"08:00\""`

	// Zone is the time zone of a time of day; the default is UTC. A point in time has its
	// own.
	Zone string `yaml:"zone" example:"Europe/Berlin"`
}

func init() {
	add(kind[WaitUntil]{
		Spec: playbooks.Spec{
			Name:    "wait.until",
			Summary: "Lets time pass until a point in time, or until a time of day comes round. In tests of playbooks it passes at once.",
			Effect:  playbooks.Reads,
			Output:  WaitOutput{},
			Example: "do: wait.until\nwith:\n  time: \"08:00\"\n  zone: Europe/Berlin\n",
			Timeout: waitTimeout,
			Inside:  true,
			Waits:   true,
		},
		local: true,
		check: func(_ *Deps, in *WaitUntil, a *arguments) {
			if in.Time == "" || !a.known("time") || !a.known("zone") || a.wrong("time") || a.wrong("zone") {
				return
			}
			if _, err := in.end(time.Unix(0, 0)); errors.Is(err, errZone) {
				a.refuse("zone", "a name of the IANA database, such as Europe/Berlin", "%v", err)
			} else if err != nil && !errors.Is(err, errTooFar) { // how far it is, the call will tell
				a.refuse("time", "", "%v", err)
			}
		},
		do: func(_ context.Context, d *Deps, _ playbooks.Call, in WaitUntil) (playbooks.Outcome, error) {
			end, err := in.end(d.Now())
			if err != nil {
				return playbooks.Outcome{}, fmt.Errorf("time: %w", err)
			}
			return d.wait(end), nil
		},
		poll: waitOn[WaitUntil],
	})
}

var (
	errZone   = errors.New("no such time zone")
	errTooFar = errors.New("lies more than 30 days ahead")
)

// end is when the wait that begins now is over.
func (in WaitUntil) end(now time.Time) (time.Time, error) {
	if end, err := time.Parse(time.RFC3339, in.Time); err == nil {
		switch {
		case in.Zone != "":
			return end, fmt.Errorf("%s has a time zone of its own: leave zone out", in.Time)
		case end.Sub(now) > maxWait:
			return end, fmt.Errorf("%s %w", in.Time, errTooFar)
		}
		return end, nil
	}
	zone, err := time.LoadLocation(in.Zone) // UTC for an empty one
	if err != nil || in.Zone == "Local" {
		return time.Time{}, fmt.Errorf("%w: %.40q", errZone, in.Zone)
	}
	for _, layout := range []string{"15:04", "15:04:05"} {
		clock, err := time.Parse(layout, in.Time)
		if err != nil {
			continue
		}
		year, month, day := now.In(zone).Date()
		for ; ; day++ { // a clock that is put forward may skip it on one day
			end := time.Date(year, month, day, clock.Hour(), clock.Minute(), clock.Second(), 0, zone)
			if !end.Before(now) {
				return end, nil
			}
		}
	}
	return time.Time{}, fmt.Errorf("expected a time such as 2026-05-04T08:00:00+02:00 or 08:00, found %.40q", in.Time)
}
