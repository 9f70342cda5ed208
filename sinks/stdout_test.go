package sinks_test

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks"
	"github.com/erbridge/erbridge/sinks/format"
	"github.com/erbridge/erbridge/sinks/sinksim"
	"github.com/erbridge/erbridge/sinks/sinktest"
)

var updateStory = flag.Bool("update-story", false, "rewrite testdata/story.txt")

func newStdout(t *testing.T, w io.Writer, s sinks.StdoutSettings) sinks.Sink {
	t.Helper()
	sink, err := sinks.NewStdout(w, s, "1")
	if err != nil {
		t.Fatal(err)
	}
	return sink
}

func TestStdoutContract(t *testing.T) {
	var out bytes.Buffer
	sinktest.Run(t, sinktest.Harness{
		MaxBatch: 256,
		Open: func(t *testing.T, _ sinktest.Receiver) sinks.Sink {
			out.Reset()
			return newStdout(t, &out, sinks.StdoutSettings{FormatSettings: sinks.FormatSettings{Format: "json"}})
		},
		Delivered: func(t *testing.T) []string {
			events, err := sinksim.ReadEvents(&out)
			if err != nil {
				t.Error(err)
			}
			var ids []string
			for _, ev := range events {
				ids = append(ids, ev.ID)
			}
			return ids
		},
		Answers: []sinktest.Answer{{Name: "closed", Want: sinktest.Transient, Open: func(t *testing.T) sinks.Sink {
			return newStdout(t, brokenPipe{}, sinks.StdoutSettings{FormatSettings: sinks.FormatSettings{Format: "json"}})
		}}},
		Without: map[string]string{
			"cancelled in mid-send": "a write to standard output cannot be called off",
			"partial batch":         "a batch is one write",
			"poison item":           "standard output takes every line",
			"certificate":           "standard output has none",
		},
	})
}

// Whatever an alert holds, the terminal gets nothing but text and line ends.
func TestStdoutHostileText(t *testing.T) {
	ev := sinktest.Hostile()
	ev.Alert.Comment += "\u009b31m\u2028\u2066"
	ev.Alert.Event["cmdline"] = "\u009b31m \x9b " + ev.Alert.Event["cmdline"]
	step := ev
	step.Type = soar.EventStepFinished
	step.Outcome = &soar.Outcome{Action: ev.Alert.Comment, State: "\x1b[2J", Summary: ev.Alert.Comment, Error: ev.Alert.Comment}
	run := ev
	run.Type, run.Run = soar.EventRunFinished, &soar.RunSummary{Playbook: ev.Alert.Comment, State: "\r\n", Error: ev.Alert.Comment}
	for _, format := range append(format.Names(), "text") {
		t.Run(format, func(t *testing.T) {
			var out bytes.Buffer
			sink := newStdout(t, &out, sinks.StdoutSettings{FormatSettings: sinks.FormatSettings{Format: format}})
			events := []soar.Event{ev, step, run, {ID: "n", Type: soar.EventNotification, Text: ev.Alert.Comment}, {ID: "x", Type: "\x1b[1m"}}
			if err := sink.Send(t.Context(), events); err != nil {
				t.Fatal(err)
			}
			for _, r := range out.String() {
				if r != '\n' && (r != '\t' || format != "leef") && unicode.IsControl(r) { // tabs part the values of LEEF
					t.Fatalf("control character %U in %q", r, out.String())
				}
				if format == "text" && unicode.Is(unicode.Cf, r) {
					t.Fatalf("invisible character %U in %q", r, out.String())
				}
			}
		})
	}
}

func story() []soar.Event {
	at := func(ms int) time.Time {
		return time.Date(2026, 11, 22, 5, 30, 33, 0, time.UTC).Add(time.Duration(ms) * time.Millisecond)
	}
	alert := sinktest.Event(17).Alert
	run := &soar.RunSummary{ID: 1 << 50, Playbook: "contain-shadow-copy-deletion", Mode: soar.ModeEnforce, State: soar.RunDone}
	failed, observed, updated := *run, *run, *alert
	failed.State, failed.Error = soar.RunFailed, "step collect: host is offline"
	observed.Mode = soar.ModeObserve
	updated.Status, updated.Verdict, updated.EventCount = soar.StatusResolved, soar.VerdictTruePositive, 12
	return []soar.Event{
		{ID: "1", Type: soar.EventAlertReceived, At: at(0), Alert: alert},
		{ID: "2", Type: soar.EventRunStarted, At: at(3), Alert: alert, Run: run},
		{ID: "3", Type: soar.EventStepFinished, At: at(1250), Alert: alert, Run: run,
			Outcome: &soar.Outcome{Action: "host.contain", State: soar.StepVerified, Summary: "firewall rule added", Took: 1234 * time.Millisecond}},
		{ID: "4", Type: soar.EventStepFinished, At: at(1400), Alert: alert, Run: run,
			Outcome: &soar.Outcome{Action: "carve.file", State: soar.StepFailed, Error: "host is offline", Took: 90 * time.Second}},
		{ID: "4a", Type: soar.EventStepFinished, At: at(1410), Alert: alert, Run: run, Outcome: &soar.Outcome{Action: "process.kill", State: soar.StepFailed,
			Target: "EC2A-7", Summary: "stop vssadmin.exe (pid 4711)", Error: "no such process", Took: 2 * time.Millisecond}},
		{ID: "4b", Type: soar.EventStepFinished, At: at(1420), Alert: alert, Run: run, Outcome: &soar.Outcome{Action: "host.contain", State: soar.StepObserved,
			Summary: "observe: the playbook only observes", Took: 40 * time.Microsecond}},
		{ID: "4c", Type: soar.EventStepFinished, At: at(1430), Alert: alert, Run: run, Outcome: &soar.Outcome{Action: "host.contain", State: soar.StepRefused,
			Summary: "the host is protected", Error: "the host is protected", Took: 40 * time.Microsecond}},
		{ID: "4d", Type: soar.EventStepFinished, At: at(1440), Alert: alert, Run: run, Outcome: &soar.Outcome{Action: "notify.send", State: soar.StepExecuted,
			Summary: "queued for soc-slack", Took: time.Millisecond}},
		{ID: "5", Type: soar.EventRunFinished, At: at(1500), Alert: alert, Run: run},
		{ID: "6", Type: soar.EventRunFinished, At: at(1600), Alert: alert, Run: &failed},
		{ID: "7", Type: soar.EventRunFinished, At: at(1700), Alert: alert, Run: &observed},
		{ID: "8", Type: soar.EventNotification, At: at(1800), Alert: alert, Text: "WIN-07 is contained"},
		{ID: "9", Type: soar.EventTrouble, At: at(1900), Text: `Sink "qradar" is paused`},
		{ID: "10", Type: soar.EventTest, At: at(2000), Text: "This is a test."},
		{ID: "11", Type: soar.EventAlertUpdated, At: at(2100), Alert: &updated},
	}
}

func TestStdoutStory(t *testing.T) {
	var out bytes.Buffer
	for _, color := range []string{"never", "always"} {
		if err := newStdout(t, &out, sinks.StdoutSettings{Color: color}).Send(t.Context(), story()); err != nil {
			t.Fatal(err)
		}
	}
	golden := filepath.Join("testdata", "story.txt")
	if *updateStory {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != string(want) {
		t.Errorf("the story has changed; look at it with -update-story\n got:\n%s\nwant:\n%s", out.String(), want)
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestStdoutClosed(t *testing.T) {
	err := newStdout(t, brokenPipe{}, sinks.StdoutSettings{}).Send(t.Context(), sinktest.Events(1))
	if got := sinktest.ClassOf(err); got != sinktest.Transient || !strings.Contains(err.Error(), "stdout") {
		t.Errorf("class %q: %v", got, err)
	}
}

// An event for which a template has no form is set aside; the others are printed.
func TestStdoutTemplate(t *testing.T) {
	s := sinks.StdoutSettings{FormatSettings: sinks.FormatSettings{Format: "template"}}
	s.Template.Value = `if .alert.id == "2" then null else "\(.alert.id)\u001b[31m\n" end`
	var out bytes.Buffer
	err := newStdout(t, &out, s).Send(t.Context(), sinktest.Events(3))
	p, ok := errors.AsType[*sinks.PartialError](err)
	if !ok || len(p.Permanent) != 1 || p.Permanent[1] == nil || len(p.Transient) != 0 {
		t.Errorf("error %v, want item 1 refused for good", err)
	}
	if got, want := out.String(), "1\\x1b[31m\n3\\x1b[31m\n"; strings.ReplaceAll(got, `\n`, "") != want {
		t.Errorf("printed %q, want %q", got, want)
	}
	s.Template.Value = ".["
	if _, err := sinks.NewStdout(&out, s, "1"); !errors.Is(err, sinks.ErrConfig) {
		t.Errorf("error %v, want ErrConfig", err)
	}
}
