package sinks_test

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

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
		{"null", `.nothing`, "", "it made null, expected a text or an object"},
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
		if !maps.EqualFunc(a, b, func(x, y any) bool { return reflect.DeepEqual(x, y) }) {
			t.Errorf("%s: %s\nwant %s", name, got, want)
		}
	}
}
