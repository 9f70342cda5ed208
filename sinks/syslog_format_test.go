package sinks_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/leodido/go-syslog/v4/rfc5424"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks"
	"github.com/erbridge/erbridge/sinks/format"
	"github.com/erbridge/erbridge/sinks/sinksim"
	"github.com/erbridge/erbridge/sinks/sinktest"
)

// body is the message part of a message of RFC 5424.
func body(t *testing.T, message string) string {
	t.Helper()
	parsed, err := rfc5424.NewParser().Parse([]byte(message))
	if err != nil {
		t.Fatalf("%v in %q", err, message)
	}
	return *parsed.(*rfc5424.SyslogMessage).Message
}

// Every format goes through a collector as its formatter made it. LEEF and CEF are framed
// by lines on TCP, and the others by their length.
func TestSyslogCarriesEveryFormat(t *testing.T) {
	for _, name := range format.Names() {
		t.Run(name, func(t *testing.T) {
			sim := startSyslog(t, sinksim.SyslogOptions{LF: name == "cef" || name == "leef"})
			settings := syslogSettings(sim.Address())
			settings.Payload, settings.Format = "", name
			s := closeAfter(t, openSIEM(t, "syslog", settings))
			ev := sinktest.Event(1)
			ev.Alert.Rule.Name = "a\nb\tc\x1b[31m"
			if err := s.Send(t.Context(), []soar.Event{ev}); err != nil {
				t.Fatal(err)
			}
			if err := sim.Wait(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			f, err := format.New(name, format.Options{Version: "test"})
			if err != nil {
				t.Fatal(err)
			}
			want, err := f(&ev)
			if err != nil {
				t.Fatal(err)
			}
			got := body(t, sim.Messages()[0])
			if name == "json" { // without the answer of an intelligence service
				var plain map[string]any
				if err := json.Unmarshal([]byte(got), &plain); err != nil || plain["id"] != "er-1" {
					t.Errorf("%v in %s", err, got)
				}
			} else if got != string(want) {
				t.Errorf("came through as %q, want %q", got, want)
			}
		})
	}
}

// An event on which a template fails is refused for good, by itself: those beside it are
// delivered. The reason says what to do.
func TestSyslogTemplate(t *testing.T) {
	sim := startSyslog(t, sinksim.SyslogOptions{})
	settings := syslogSettings(sim.Address())
	settings.Payload, settings.Format = "", "template"
	settings.Template = registry.Text{Value: `if .alert.id == "2" then .alert.verdict else "host \(.alert.host.name)" end`}
	s := closeAfter(t, openSIEM(t, "syslog", settings))
	err := s.Send(t.Context(), []soar.Event{sinktest.Event(1), sinktest.Event(2), sinktest.Event(3)})
	partial, ok := errors.AsType[*sinks.PartialError](err)
	if !ok || len(partial.Permanent) != 1 || len(partial.Transient) != 0 {
		t.Fatalf("the error is %v", err)
	}
	if reason := partial.Permanent[1]; !errors.Is(reason, sinks.ErrPermanent) || !strings.Contains(reason.Error(), "it made null, expected a text or an object") {
		t.Errorf("the reason is %v", reason)
	}
	if err := sim.Wait(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	for i, message := range sim.Messages() {
		if got := body(t, message); got != "host WIN-07" {
			t.Errorf("message %d is %q", i, got)
		}
	}
}

// A document is never cut in the middle: its texts are, and where that is not enough, the
// event is refused with the setting that helps.
func TestSyslogDocumentTooLong(t *testing.T) {
	for _, tt := range []struct {
		name  string
		limit int
		taken bool
	}{{"shortened", 4096, true}, {"refused", 480, false}} {
		t.Run(tt.name, func(t *testing.T) {
			sim := startSyslog(t, sinksim.SyslogOptions{})
			settings := syslogSettings(sim.Address())
			settings.Payload, settings.Format, settings.MaxMessageBytes = "", "ecs", tt.limit
			s := closeAfter(t, openSIEM(t, "syslog", settings))
			ev := sinktest.Event(1)
			ev.Alert.Event["cmdline"] = strings.Repeat("long ", 4000)
			err := s.Send(t.Context(), []soar.Event{ev})
			if !tt.taken {
				partial, ok := errors.AsType[*sinks.PartialError](err)
				if !ok || !strings.Contains(partial.Permanent[0].Error(), "a higher max_message_bytes lets it through") {
					t.Fatalf("the error is %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := sim.Wait(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			var doc map[string]any
			if got := body(t, sim.Messages()[0]); json.Unmarshal([]byte(got), &doc) != nil || !strings.Contains(got, "…") {
				t.Errorf("the document is %q", got)
			}
		})
	}
}
