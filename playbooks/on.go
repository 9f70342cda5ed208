package playbooks

import (
	"fmt"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/schedule"
)

// The words of on. The first two are those of StoredAlert.Pending too.
const (
	pendingAlert   = "alert"
	pendingUpdated = "alert.updated"
	onRunFailed    = "run.failed"
	onSchedule     = "schedule"
	onManual       = "manual"
)

// changeName is the field of the input that says what changed of an alert.
const changeName = "change"

var onWords = []string{pendingAlert, pendingUpdated, onRunFailed, onSchedule, onManual}

// Triggers are the words that on takes.
func Triggers() []string { return append([]string(nil), onWords...) }

// takesAlerts reports whether alerts start runs by themselves.
func (p *Playbook) takesAlerts() bool { return p.Takes(pendingAlert) || p.Takes(pendingUpdated) }

// on reads one trigger, or a list of them.
func (l *loader) on(n *yaml.Node) {
	items := []*yaml.Node{n}
	switch n.Kind {
	case 0:
		return
	case yaml.SequenceNode:
		items = n.Content
		if len(items) == 0 {
			l.wrong(n, "alert, alert.updated, run.failed, schedule or manual")
		}
	}
	l.pb.On = nil
	for _, item := range items {
		switch {
		case item.Kind == yaml.MappingNode:
			l.timed(item)
		case item.Kind != yaml.ScalarNode:
			l.wrong(item, "alert, alert.updated, run.failed, manual or {schedule: ...}")
		case item.Value == onSchedule:
			l.problems.Addf(l.at(item), "on", "write schedule: {every: 1h} or schedule: {cron: \"0 7 * * mon-fri\", zone: Europe/Berlin}", "the schedule has no times")
		default:
			l.onWord(item)
		}
	}
}

func (l *loader) onWord(n *yaml.Node) {
	for _, word := range onWords {
		if n.Value == word {
			if !l.pb.Takes(word) {
				l.pb.On = append(l.pb.On, word)
			}
			return
		}
	}
	l.problems = append(l.problems, unknownWord(l.at(n), "on", n.Value, onWords...))
}

// timed reads {schedule: {...}}.
func (l *loader) timed(n *yaml.Node) {
	var doc timedDocument
	before := len(l.problems)
	l.problems = append(l.problems, registry.Decode(l.file, n, &doc)...)
	if len(l.problems) > before {
		return
	}
	if l.pb.schedule != nil {
		l.problems.Addf(l.at(n), "on", "list the times in one cron expression", "a playbook has one schedule")
		return
	}
	var times scheduleDocument
	l.problems = append(l.problems, registry.Decode(l.file, &doc.Schedule.Node, &times)...)
	if len(l.problems) > before {
		return
	}
	s, at, err := times.schedule(l.at(&doc.Schedule.Node))
	if err != nil {
		l.problems.Addf(at, "schedule", "", "%v", err)
		return
	}
	l.pb.schedule = s
	l.pb.On = append(l.pb.On, onSchedule)
}

// schedule makes the schedule; with an error, at is where the mistake is.
func (d *scheduleDocument) schedule(at registry.Position) (*schedule.Times, registry.Position, error) {
	zone := time.UTC
	if d.Zone.At.Line > 0 {
		var err error
		// Local is another zone on every machine.
		if zone, err = time.LoadLocation(d.Zone.Value); err != nil || d.Zone.Value == "Local" || d.Zone.Value == "" {
			return nil, d.Zone.At, fmt.Errorf("zone: %q is no time zone such as Europe/Berlin", d.Zone.Value)
		}
	}
	switch {
	case (d.Every != nil) == (d.Cron.At.Line > 0):
		return nil, at, fmt.Errorf("a schedule has either every or cron")
	case d.Every != nil:
		s, err := schedule.Every(*d.Every, zone)
		if err != nil {
			err = fmt.Errorf("every: %w", err)
		}
		return s, at, err
	}
	s, err := schedule.Cron(d.Cron.Value, zone)
	if err != nil {
		err = fmt.Errorf("cron: %w", err)
	}
	return s, d.Cron.At, err
}
