package sinks_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks"
)

// readSinks reads a sinks section.
func readSinks(t *testing.T, text string) ([]sinks.Config, registry.Problems) {
	t.Helper()
	root, problems := registry.Parse("c.yaml", []byte(text))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	var configs []sinks.Config
	for key, value := range registry.Pairs(root) {
		c, more := sinks.ReadConfig("c.yaml", key.Value, value)
		configs = append(configs, c)
		problems = append(problems, more...)
	}
	return configs, problems
}

func TestConfigReportsEveryMistake(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"no type", `a: {path: x}`, `c.yaml:1:4: sink "a": setting "type" is required [missing]; for example type: syslog`},
		{"unknown type", `a: {type: slak}`, `c.yaml:1:11: unknown sink type "slak" [unknown-name]; did you mean "slack"?`},
		{"misspelt common setting", `a: {type: stdout, wen: "."}`, `c.yaml:1:19: unknown setting "wen" [unknown-key]; did you mean "when"?`},
		{"misspelt own setting", `a: {type: file, path: /x, kep: 3}`, `c.yaml:1:27: unknown setting "kep" [unknown-key]; did you mean "keep"?`},
		{"missing setting", `a: {type: file}`, `c.yaml:1:4: setting "path" is required [missing]`},
		{"not jq", `a: {type: stdout, when: ".alert |"}`, `c.yaml:1:25: when: `},
		{"unknown function", `a: {type: stdout, when: "nope(1)"}`, `c.yaml:1:25: when: `},
		{"empty condition", `a: {type: stdout, when: ""}`, `c.yaml:1:25: when: `},
		{"unknown event", `a: {type: stdout, events: [alert.recieved]}`, `c.yaml:1:28: unknown value "alert.recieved"`},
		{"no events", `a: {type: stdout, events: []}`, `c.yaml:1:27: the sink would deliver nothing`},
		{"batch too large", `a: {type: teams, url: {env: X}, max_batch: 2}`, `c.yaml:1:44: expected a number from 1 to 1 for type teams`},
		{"bucket before an address", `a: {type: s3, endpoint: "http://127.0.0.1:9", bucket: soc}`, `c.yaml:1:25: the bucket cannot be put in front of an IP address`},
		{"slip in when", `a: {type: stdout, when: '.alert.sevrity == "high"'}`, `c.yaml:1:25: when: there is no field .alert.sevrity`},
		{"field of no alert", `a: {type: stdout, when: '.alert.host | .tagz[] == "x"'}`, `c.yaml:1:25: when: there is no field .alert.host.tagz`},
		{"plain secret", `a: {type: slack, token: xoxb-1, channel: "#a"}`, `c.yaml:1:25: expected a secret`},
		{"token and webhook", `a: {type: slack, token: {env: A}, channel: "#a", webhook_url: {env: B}}`, `c.yaml:1:25: token and webhook_url exclude each other`},
		{"webhook without keys", `a: {type: webhook, url: "https://x.example", secrets: []}`, `c.yaml:1:55: at least one signing key`},
		{"webhook with password", `a: {type: webhook, url: "https://u:p@x.example", secrets: [{env: K}]}`, `c.yaml:1:25: url: no user name`},
		{"file is a folder", `a: {type: file, path: /var/log/}`, `c.yaml:1:23: expected the path of a file`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, problems := readSinks(t, tt.in)
			if len(problems) != 1 || !strings.HasPrefix(problems[0].Error(), tt.want) {
				t.Errorf("problems\n got %v\nwant %s", problems, tt.want)
			}
		})
	}
	t.Run("rules beside what cannot be read", func(t *testing.T) {
		_, problems := readSinks(t, `a: {type: slack, api_url: "ftp://x", timeout: soon, channel: "#a"}
b: {type: webhook, url: "https://u:p@x.example", secrets: [], timeuot: 1s}
c: {type: syslog, address: nowhere, transport: udpp, framing: lf, rfc: 1}
`)
		var got []string
		for _, p := range problems {
			got = append(got, fmt.Sprintf("%d:%d %s", p.Line, p.Column, p.Code))
		}
		slices.Sort(got)
		want := "[1:27 invalid 1:4 invalid 1:47 wrong-type 2:25 invalid 2:59 invalid 2:63 unknown-key 3:28 invalid 3:48 unknown-name 3:72 invalid]"
		if fmt.Sprint(got) != want {
			t.Errorf("problems\n got %v\nwant %s\n%v", got, want, problems)
		}
	})
	t.Run("all at once", func(t *testing.T) {
		_, problems := readSinks(t, "a: {type: file, kep: 3, when: \"|\"}\nb: {type: nope}\n")
		if len(problems) != 4 {
			t.Errorf("problems %v, want 4", problems)
		}
	})
}

func TestConfigOptions(t *testing.T) {
	configs, problems := readSinks(t, `
plain: {type: stdout}
chat: {type: teams, url: {env: X}}
tuned: {type: stdout, events: [trouble], when: '.alert.severity | at_least("high")', from_start: true, max_batch: 7, max_batch_bytes: 9, max_backoff: 5m}
`)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	plain, chat, tuned := configs[0].Options(sinks.ForwarderOptions{}), configs[1].Options(sinks.ForwarderOptions{}), configs[2].Options(sinks.ForwarderOptions{})
	if plain.MaxBatch != 256 || plain.Events != nil || plain.When != nil || plain.FromStart {
		t.Errorf("plain %+v", plain)
	}
	for _, event := range chat.Events {
		if event == soar.EventAlertUpdated || event == soar.EventRunStarted {
			t.Errorf("chat gets %s by default", event)
		}
	}
	if chat.MaxBatch != 1 || len(chat.Events) == 0 {
		t.Errorf("chat %+v", chat)
	}
	if tuned.MaxBatch != 7 || tuned.MaxBatchBytes != 9 || tuned.MaxBackoff != 5*time.Minute || !tuned.FromStart ||
		len(tuned.Events) != 1 || tuned.When == nil {
		t.Errorf("tuned %+v", tuned)
	}
}

// Defaults belong to the type: reading one sink must not change the next.
func TestConfigDefaultsAreNotShared(t *testing.T) {
	configs, problems := readSinks(t, "a: {type: file, path: /a, keep: 1}\nb: {type: file, path: /b}\n")
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	a, b := configs[0].Settings.(*sinks.FileSettings), configs[1].Settings.(*sinks.FileSettings)
	if a.Keep != 1 || b.Keep != 14 || b.Path != "/b" {
		t.Errorf("settings %+v and %+v", a, b)
	}
}

// What every type promises to documentation and configuration.
func TestTypesAreComplete(t *testing.T) {
	common := map[string]bool{}
	for i := range reflect.TypeFor[sinks.CommonSettings]().NumField() {
		name, _, _ := strings.Cut(reflect.TypeFor[sinks.CommonSettings]().Field(i).Tag.Get("yaml"), ",")
		common[name] = true
	}
	for _, name := range sinks.Types.Names() {
		t.Run(name, func(t *testing.T) {
			kind, _ := sinks.Types.Get(name)
			if kind.Summary == "" || kind.MaxBatch < 1 || kind.Open == nil {
				t.Errorf("incomplete: %+v", kind)
			}
			root, problems := registry.Parse("example.yaml", []byte(kind.Example))
			if len(problems) == 0 {
				_, problems = sinks.ReadConfig("example.yaml", "x", root)
			}
			if len(problems) > 0 {
				t.Errorf("example %q: %v", kind.Example, problems)
			}
			settings := reflect.TypeOf(kind.Settings).Elem()
			for i := range settings.NumField() {
				own, _, _ := strings.Cut(settings.Field(i).Tag.Get("yaml"), ",")
				if common[own] {
					t.Errorf("setting %q is common to all sinks", own)
				}
			}
		})
	}
}

func TestOpenChecksTheSettingsType(t *testing.T) {
	if _, err := sinks.Open("a", "nope", nil, sinks.Env{}); err == nil {
		t.Error("unknown type opened")
	}
	if _, err := sinks.Open("a", "file", &sinks.StdoutSettings{}, sinks.Env{}); err == nil {
		t.Error("settings of another type accepted")
	}
}
