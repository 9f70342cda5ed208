package sinks_test

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/erbridge/erbridge/sinks"
	"github.com/erbridge/erbridge/sinks/format"
	"github.com/erbridge/erbridge/sinks/sinktest"
)

// The tag that settings are checked by, and the reference made from, names every format.
func TestFormatSettingsNameAllFormats(t *testing.T) {
	field, _ := reflect.TypeFor[sinks.FormatSettings]().FieldByName("Format")
	got := slices.Sorted(slices.Values(strings.Split(field.Tag.Get("enum"), ",")))
	want := slices.Sorted(slices.Values(append(format.Names(), "template")))
	if !slices.Equal(got, want) {
		t.Errorf("the setting takes %v, there are %v", got, want)
	}
}

func TestTemplate(t *testing.T) {
	ev := sinktest.Event(1)
	ev.Alert.Host.Name = "a\nb\r\x1b[31m\u202e\u2028\tc"
	for _, tt := range []struct{ name, template, want, problem string }{
		{"text", `"\(.alert.id) \(.alert.severity)"`, "1 high", ""},
		{"hidden characters are spelled out", `.alert.host.name`, `a\nb\r\x1b[31m\u202e\u2028` + "\tc", ""},
		{"fields between tabs", `[.alert.host.name, .alert.id] | @tsv`, `a\nb\r\x1b[31m\u202e\u2028\tc` + "\t1", ""},
		{"object", `{b: .alert.id, a: "x\u001b\u202e<"}`, `{"a":"x\u001b\u202e<","b":"1"}`, ""},
		{"severities", `if .alert.severity | at_least("high") then "page" else "mail" end`, "page", ""},
		{"another format", `formatted("cef") | split("|")[0:3] | join(" ")`, "CEF:0 EclecticIQ Endpoint Response", ""},
		{"another format, changed", `formatted("ecs") | {id: .event.id, team: "soc"}`, `{"id":"er-1","team":"soc"}`, ""},
		{"a part is no event", `.alert | formatted("ecs")`, "", "expected the whole event"},
		{"unknown format", `formatted("xml")`, "", `format "xml": unknown`},
		{"null", `.text`, "", "it made null, expected a text or an object"},
		{"number", `1`, "", "it made a number"},
		{"array", `[.alert.id]`, "", "it made an array"},
		{"empty line", `" "`, "", "it made an empty line"},
		{"nothing", `empty`, "", "exactly one value"},
		{"two values", `"a", "b"`, "", "exactly one value"},
		{"its own error", `error("no")`, "", "no"},
		{"without end", `last(repeat(1))`, "", "limit"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := sinks.CompileTemplate(tt.template, format.Options{})
			if err != nil {
				t.Fatal(err)
			}
			got, err := f(&ev)
			switch {
			case tt.problem == "" && (err != nil || string(got) != tt.want):
				t.Errorf("made %q, %v, want %q", got, err, tt.want)
			case tt.problem != "" && (err == nil || !strings.Contains(err.Error(), tt.problem) || got != nil):
				t.Errorf("made %q, %v, want an error with %q", got, err, tt.problem)
			}
		})
	}
}

// formatted gives the same as the format itself.
func TestTemplateFormatted(t *testing.T) {
	ev := sinktest.Event(1)
	for _, name := range format.Names() {
		own, err := format.New(name, format.Options{})
		if err != nil {
			t.Fatal(err)
		}
		want, err := own(&ev)
		if err != nil {
			t.Fatal(err)
		}
		f, err := sinks.CompileTemplate(`formatted("`+name+`")`, format.Options{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := f(&ev)
		if err != nil {
			t.Fatal(err)
		}
		if want[0] != '{' {
			if string(got) != format.Line(string(want)) {
				t.Errorf("%s: %s, want %s", name, got, want)
			}
			continue
		}
		var a, b map[string]any
		if err := json.Unmarshal(got, &a); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(want, &b); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(a, b) {
			t.Errorf("%s: %s\nwant %s", name, got, want)
		}
	}
}

// A template is read when the configuration is, and not at the first event.
func TestFormatSettingsAreChecked(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"unknown format", `a: {type: syslog, address: "x:1", format: xml}`, `c.yaml:1:43: unknown value "xml"`},
		{"no template", `a: {type: syslog, address: "x:1", format: template}`, `c.yaml:1:43: format: template needs a template`},
		{"template without its format", `a: {type: syslog, address: "x:1", template: .alert.id}`, `c.yaml:1:45: the template is not used with format: json`},
		{"no jq", `a: {type: syslog, address: "x:1", format: template, template: ".alert |"}`, `c.yaml:1:63: at character 9: `},
		{"unknown function", `a: {type: syslog, address: "x:1", format: template, template: nope}`, `c.yaml:1:63: `},
		{"slip in template", `a: {type: syslog, address: "x:1", format: template, template: .alert.titel}`, `c.yaml:1:63: there is no field .alert.titel`},
		{"empty template", `a: {type: syslog, address: "x:1", format: template, template: ""}`, `c.yaml:1:63: the expression is empty`},
		{"telemetry in ASIM", `a: {type: syslog, address: "x:1", format: asim, events: [telemetry]}`, `c.yaml:1:57: format asim has no form for telemetry`},
		{"both names of format", `a: {type: syslog, address: "x:1", format: leef, payload: cef}`, `c.yaml:1:58: payload is the older name of format`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, problems := readSinks(t, tt.in)
			if len(problems) != 1 || !strings.HasPrefix(problems[0].Error(), tt.want) {
				t.Errorf("problems\n got %v\nwant %s", problems, tt.want)
			}
		})
	}
	for _, in := range []string{
		`a: {type: syslog, address: "x:1", payload: leef}`, `a: {type: syslog, address: "x:1", format: leef}`,
		`a: {type: syslog, address: "x:1", format: template, template: '.alert.id'}`,
	} {
		if _, problems := readSinks(t, in); len(problems) > 0 {
			t.Errorf("%s: %v", in, problems)
		}
	}
}

// FuzzTemplate: whatever an alert says, a template makes one line of it, and what stands
// between its own marks reads back.
func FuzzTemplate(f *testing.F) {
	f.Add("WIN-1", "cmd.exe")
	f.Add("a\nb", "\x00\x1b[31m\u202e\u2028\u2029\r\n{\"id\":\"forged\"}")
	f.Add("\xff\xfe", "\U000E0041\t|=")
	text, err := sinks.CompileTemplate(`"<\(.alert.host.name)> <\(.alert.event.cmdline)>"`, format.Options{})
	if err != nil {
		f.Fatal(err)
	}
	object, err := sinks.CompileTemplate(`{host: .alert.host.name, what: .alert.event.cmdline}`, format.Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, host, cmdline string) {
		ev := sinktest.Event(1)
		ev.Alert.Host.Name, ev.Alert.Event["cmdline"] = host, cmdline
		line, err := text(&ev)
		if err != nil {
			t.Fatal(err)
		}
		if !utf8.Valid(line) || strings.ContainsAny(string(line), "\r\n\v\f\x00\x1b\u0085\u2028\u2029\u202e") {
			t.Fatalf("not one line: %q", line)
		}
		if line, err = object(&ev); err != nil {
			t.Fatal(err)
		}
		var back map[string]string
		if err := json.Unmarshal(line, &back); err != nil || strings.ContainsAny(string(line), "\r\n\u202e") {
			t.Fatalf("%v in %q", err, line)
		}
		want := map[string]string{"host": string([]rune(host)), "what": string([]rune(cmdline))}
		if host == "" {
			delete(back, "host") // null: the event leaves an empty name out
			delete(want, "host")
		}
		if !maps.Equal(back, want) {
			t.Fatalf("read back %q, want %q", back, want)
		}
	})
}
