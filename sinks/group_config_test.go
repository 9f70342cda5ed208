package sinks_test

import (
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/sinks"
)

func TestGroupSettings(t *testing.T) {
	read := func(text string) (sinks.GroupOptions, string) {
		t.Helper()
		all, problems := readSinks(t, "a:\n  "+strings.ReplaceAll(text, "\n", "\n  "))
		if len(problems) > 0 {
			return sinks.GroupOptions{}, problems.Err().Error()
		}
		return all[0].Options(sinks.ForwarderOptions{}).Group, ""
	}
	const slack = "type: slack\ntoken: {env: T}\nchannel: \"#soc\"\n"
	for _, tt := range []struct {
		name, in       string
		by, storm      int
		window, update time.Duration
	}{
		{"a file groups nothing", "type: file\npath: /x", 0, 0, 0, 0},
		{"chat knows storms", slack, 0, sinks.DefaultStorm, 0, 0},
		{"chat without", slack + "storm: 0", 0, 0, 0, 0},
		{"a file with", "type: file\npath: /x\nstorm: 100", 0, 100, 0, 0},
		{"defaults", slack + "group: {}", 1, sinks.DefaultStorm, 10 * time.Minute, 10 * time.Second},
		{"all set", slack + "group: {by: [rule, host, '.alert.event.sha256'], window: 1h, update: 1m}", 3, sinks.DefaultStorm, time.Hour, time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o, problem := read(tt.in)
			if problem != "" || len(o.By) != tt.by || o.Storm != tt.storm || o.Window != tt.window || o.Update != tt.update || o.Storm > 0 && o.StormUpdate < time.Second {
				t.Errorf("got %+v, %s", o, problem)
			}
		})
	}
	for _, tt := range []struct{ in, want string }{
		{"storm: 1", "expected a number of alerts a minute, from 2 to 10000"},
		{"group: {by: []}", "by: expected from 1 to 10 things"},
		{"group: {by: [hosts]}", `"hosts" is none of rule, host`},
		{"group: {window: 1s}", "window is 1s, and must be from update (10s)"},
		{"group: {update: 10ms}", "update is 10ms, and must be 1s or longer"},
		{"group: {bye: [rule]}", `unknown setting "bye"`},
	} {
		if _, problem := read(slack + tt.in); !strings.Contains(problem, tt.want) {
			t.Errorf("%s: %s; want %s", tt.in, problem, tt.want)
		}
	}
}
