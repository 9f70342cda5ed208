package sinks

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks/format"
)

// FormatInfo is a format that settings may name.
type FormatInfo struct {
	Name  string `json:"format"`
	About string `json:"about"`
}

// Formats are all formats, in alphabetical order.
func Formats() []FormatInfo {
	var all []FormatInfo
	for _, name := range format.Names() {
		all = append(all, FormatInfo{name, format.About(name)})
	}
	return append(all, FormatInfo{formatTemplate, "what a jq program of your own makes of the event"})
}

// Preview is an event in a format; template is the program of the format template.
func Preview(name, template string, ev *soar.Event, version string) ([]byte, error) {
	f, err := NewFormatter(name, template, format.Options{Version: version})
	if err != nil {
		return nil, err
	}
	return f(ev)
}

// formatChooser are settings that embed FormatSettings.
type formatChooser interface{ chosenFormat() *FormatSettings }

func (s *FormatSettings) chosenFormat() *FormatSettings { return s }

// Preview is the event as the sink would send it, without what belongs to the transport,
// such as the length in front of a syslog message. Nothing is opened and no secret is
// read. Sinks that people read have cards instead of a line, which is an error.
func (c *Config) Preview(ev *soar.Event, version string) ([]byte, error) {
	o := format.Options{Version: version}
	switch s := c.Settings.(type) {
	case *SyslogSettings:
		return s.preview(ev, version)
	case *ElasticSettings:
		o.ServerVersion = s.ServerVersion
		options := format.ECSOptions{Options: o, Original: s.Original}
		if s.Index == "" {
			options.Namespace = s.Namespace
		}
		return format.ECS(ev, options), nil
	case *SplunkSettings:
		if o.ServerVersion = s.ServerVersion; s.Endpoint != "raw" {
			return format.HEC(ev, format.HECOptions{Options: o, Index: s.Index, Source: s.Source, SourceType: s.SourceType, Host: s.Host}), nil
		}
	case *SecopsSettings:
		if o.ServerVersion = s.ServerVersion; s.Endpoint != "logs" {
			return format.UDM(ev, o), nil
		}
	case *S3Settings:
		return Preview(s.Format, "", ev, version)
	case *StdoutSettings:
		var out bytes.Buffer
		sink, err := NewStdout(&out, *s, version)
		if err == nil {
			err = sink.Send(context.Background(), []soar.Event{*ev}) // a buffer does not wait
		}
		return bytes.TrimSuffix(out.Bytes(), []byte("\n")), err
	case *SentinelSettings:
		o.ServerVersion = s.ServerVersion
	}
	if s, ok := c.Settings.(formatChooser); ok {
		f, err := s.chosenFormat().formatter(o)
		if err != nil {
			return nil, fmt.Errorf("sink %q: %w", c.Name, err)
		}
		return f(ev)
	}
	return nil, fmt.Errorf("sink %q of type %s has no format to show; erbridge sinks test %s sends it an event", c.Name, c.Type, c.Name)
}

// SampleEvent is an event of that type about an alert, for a preview. What the alert does
// not tell (the run, the outcome, the question) is made up.
func SampleEvent(t soar.EventType, a soar.Alert) soar.Event {
	at := a.CreatedAt
	if at.IsZero() {
		at = time.Unix(0, 0).UTC()
	}
	at = at.Add(time.Minute)
	ev := soar.Event{ID: string(t) + "/" + a.Ref(), Type: t, At: at, Alert: &a}
	run := &soar.RunSummary{ID: soar.RunIDAt(at), Playbook: "example", Mode: soar.ModeEnforce, State: soar.RunDone}
	switch t {
	case soar.EventAlertReceived:
		ev.ID = a.Ref()
	case soar.EventAlertUpdated:
		to := a.State()
		to.Status, to.Verdict, to.Comment = soar.StatusResolved, soar.VerdictTruePositive, "an example"
		ev.Change = &soar.AlertChange{
			What: []string{soar.ChangeResolved, soar.ChangeVerdict, soar.ChangeComment}, Origin: soar.OriginAnalyst, By: "analyst", At: at, From: a.State(), To: to,
		}
		ev.Alert.Status, ev.Alert.Verdict, ev.Alert.Comment = to.Status, to.Verdict, to.Comment
	case soar.EventRunStarted:
		run.State, ev.Run = soar.RunRunning, run
	case soar.EventRunFinished:
		ev.Run = run
	case soar.EventStepFinished:
		ev.Run = run
		ev.Outcome = &soar.Outcome{
			Step: "contain", Action: "host.contain", State: soar.StepVerified, Target: a.Host.Identifier, Command: "example", Summary: "contained " + a.Host.Name,
			Took: 12 * time.Second, Undo: "host.release",
		}
	case soar.EventApprovalRequested, soar.EventApprovalDecided:
		ev.Run = run
		ev.Approval = &soar.Approval{
			ID: "example", State: soar.ApprovalWaiting, Run: run.ID, Step: "contain", Playbook: run.Playbook, Action: "host.contain", Alert: a.Ref(), Count: 1,
			Text: "May playbook example do host.contain on " + a.Host.Name + "?", AskedAt: at, Expires: at.Add(30 * time.Minute),
		}
		ev.Text = "approval example: " + ev.Approval.Text
		if t == soar.EventApprovalDecided {
			ev.Text = "approval example is approved: " + ev.Approval.Text
			ev.Approval.State, ev.Approval.DecidedAt = soar.ApprovalApproved, at
			ev.Approval.Votes = []soar.Vote{{By: "analyst", Agree: true, At: at}}
		}
	case soar.EventUndoSoon:
		ev.Run = run
		ev.Text = "host.contain on " + a.Host.Name + " is taken back in 15m by itself"
		ev.Undo = &soar.Undo{At: at.Add(15 * time.Minute), Of: run.ID, Step: "contain", Action: "host.contain", Do: "host.release", Target: a.Host.Identifier}
	case soar.EventAlertGrouped:
		ev.Group = &soar.Group{Key: a.Title(), Head: a.Ref(), Count: 12, Hosts: 1, Names: []string{a.Host.Name}, First: a.CreatedAt, Last: at}
	case soar.EventTelemetry:
		ev.Alert = nil
		ev.Row = &soar.Row{Server: a.Server, Query: a.QueryName, Action: "added", Host: a.Host, At: a.EventTime, Columns: a.Event}
	case soar.EventNotification:
		ev.Run, ev.Text = run, "an example of a notification"
	case soar.EventTrouble, soar.EventTest, soar.EventDigest, soar.EventHeartbeat:
		ev.Alert, ev.ID, ev.Text = nil, string(t)+"/example", "an example of "+string(t)
	}
	return ev
}
