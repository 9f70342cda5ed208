package actions

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/playbooks"
)

// DefenderSchedule are the arguments of defender.schedule.
type DefenderSchedule struct {
	// Host is the host identifier.
	Host Host `yaml:"host" required:"true"`

	// Kind is how much is scanned.
	Kind string `yaml:"kind" enum:"quick,full"`

	// At is the time of day by the clock of the host, as hours and minutes: "02:30".
	At string `yaml:"at" required:"true"`

	// Day is the day of a full scan; never turns it off. A quick scan runs every day.
	Day string `yaml:"day" enum:"every_day,sunday,monday,tuesday,wednesday,thursday,friday,saturday,never"`
}

// scanDays are the names of days in the order of connector.ScanDay.
var scanDays = []string{"every_day", "sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "never"}

func init() {
	add(kind[DefenderSchedule]{
		Spec: playbooks.Spec{
			Name:    "defender.schedule",
			Summary: "Sets when Windows Defender scans a host by itself, and asks Defender whether it is set.",
			Effect:  playbooks.Repeatable,
			Needs:   []string{"enterprise", "response", "windows"},
			Kind:    "schedule",
			Sense:   "set", // one schedule after the other
			Output:  CommandOutput{},
			Example: "do: defender.schedule\nwith:\n  host: ${{ .alert.host.identifier }}\n  kind: full\n  at: \"02:30\"\n  day: sunday\n",
			Timeout: 5 * time.Minute,
		},
		defaults: DefenderSchedule{Kind: "quick", Day: "every_day"},
		check: func(_ *Deps, in *DefenderSchedule, a *arguments) {
			if _, err := time.Parse("15:04", in.At); a.known("at") && in.At != "" && (err != nil || len(in.At) != len("15:04")) {
				a.refuse("at", "", "expected hours and minutes such as 02:30, found %.40q", in.At)
			}
			if a.known("kind") && a.known("day") && in.Kind == "quick" && in.Day != "every_day" {
				a.refuse("day", "set kind: full", "only a full scan has a day")
			}
		},
		host: func(in DefenderSchedule) Host { return in.Host },
		do: func(ctx context.Context, d *Deps, call playbooks.Call, in DefenderSchedule) (playbooks.Outcome, error) {
			at, err := time.Parse("15:04", in.At)
			if err != nil {
				return playbooks.Outcome{}, err
			}
			return d.send(ctx, in.Host, in.task(call), func(ctx context.Context) (connector.Command, error) {
				schedule := connector.ScanSchedule{Kind: connector.ScanQuick, At: time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute}
				if in.Kind == "full" {
					schedule.Kind, schedule.Day = connector.ScanFull, connector.ScanDay(slices.Index(scanDays, in.Day))
				}
				return d.Client.Defender.ScheduleScan(ctx, string(in.Host), schedule)
			})
		},
		poll: func(ctx context.Context, d *Deps, call playbooks.Call, in DefenderSchedule, ref string) (playbooks.Outcome, error) {
			return d.follow(ctx, in.Host, ref, in.task(call), func(ctx context.Context, c connector.HostCommand) playbooks.Outcome {
				out := d.settled(ctx, in.Host, in.task(call), in.wrong)
				out.Output = CommandOutput{Command: c.CommandID, Message: c.Message}
				return out
			})
		},
	})
}

// wrong compares the schedule with Defender's settings.
func (in DefenderSchedule) wrong(settings map[string]any) (why string, told bool) {
	name := map[string]string{"quick": "ScanScheduleQuickScanTime", "full": "ScanScheduleTime"}[in.Kind]
	at := timeOfDay(settings[name])
	if at == "" {
		return "", false
	}
	if in.Kind == "full" {
		day, told := settings["ScanScheduleDay"].(float64)
		if !told {
			return "", false
		}
		if want := slices.Index(scanDays, in.Day); int(day) != want {
			return fmt.Sprintf("Defender has the day %v and not %d", day, want), true
		}
		if in.Day == "never" { // the time means nothing then
			return "", true
		}
	}
	if at != in.At {
		return "Defender has the time " + at, true
	}
	return "", true
}

// timeOfDay reads hours and minutes: a text such as 02:30:00, or the object that
// PowerShell makes of a span of time.
func timeOfDay(value any) string {
	switch v := value.(type) {
	case string:
		if t, err := time.Parse(time.TimeOnly, strings.TrimSpace(v)); err == nil {
			return t.Format("15:04")
		}
	case map[string]any:
		hours, ok := v["Hours"].(float64)
		minutes, ok2 := v["Minutes"].(float64)
		if ok && ok2 {
			return fmt.Sprintf("%02d:%02d", int(hours), int(minutes))
		}
	}
	return ""
}

func (in DefenderSchedule) task(call playbooks.Call) task {
	what := fmt.Sprintf("a quick scan of Defender on %s for %s", hostName(call, in.Host), in.At)
	if in.Kind == "full" {
		what = fmt.Sprintf("a full scan of Defender on %s for %s, %s", hostName(call, in.Host), in.At, strings.ReplaceAll(in.Day, "_", " "))
	}
	return task{"schedule", "scheduled", what}
}
