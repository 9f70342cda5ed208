package config

import (
	"testing"
)

const routedSinks = least + `
sinks:
  soc: {type: file, path: soc.log}
  siem: {type: file, path: siem.log}
`

func TestRoutes(t *testing.T) {
	cfg, problems := parse(t, routedSinks+`
routes:
  - {name: ransom, when: '.alert.rule.name | test("ransom")', to: [soc, siem], continue: true}
  - {name: rest, to: [siem]}
`)
	if problems != "" {
		t.Fatal(problems)
	}
	if len(cfg.Routes) != 2 || cfg.Routes[0].Name != "ransom" || !cfg.Routes[0].Continue || cfg.Routes[1].To[0] != "siem" {
		t.Errorf("routes: %+v", cfg.Routes)
	}
}

func TestRouteMistakes(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"unknown sink", "[{name: a, to: [sock]}]", `c.yaml:6:24: route "a": no sink "sock" [invalid]; did you mean "soc"?`},
		{"no sink", "[{name: a}]", `c.yaml:6:10: setting "to" is required [missing]`},
		{"leads nowhere", "[{name: a, to: []}]", `c.yaml:6:24: route "a" leads nowhere [invalid]; a sink of type file keeps what nobody shall be bothered with`},
		{"no name", "[{to: [soc]}]", `c.yaml:6:10: setting "name" is required [missing]`},
		{"same name", "[{name: a, when: .to, to: [soc]}, {name: a, to: [siem]}]", `c.yaml:6:50: there is another route "a" [invalid]`},
		{"twice", "[{name: a, to: [soc, soc]}]", `c.yaml:6:24: route "a" names sink "soc" twice [invalid]`},
		{"never reached", "[{name: a, to: [soc]}, {name: b, when: .to, to: [siem]}]",
			`c.yaml:6:39: route "b" is never reached: "a" before it takes every event [invalid]; give "a" a when, or continue: true, or put it last`},
		{"bad condition", "[{name: a, when: '.x |', to: [soc]}]", `c.yaml:6:26: when: at character 5: jq syntax: the expression ends too early [jq]`},
		{"unknown setting", "[{name: a, too: [soc]}]", `c.yaml:6:10: setting "to" is required [missing]
c.yaml:6:20: unknown setting "too" [unknown-key]; did you mean "to"?`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, got := parse(t, routedSinks+"routes: "+tt.in); got != tt.want {
				t.Errorf("routes: %s\n got %s\nwant %s", tt.in, got, tt.want)
			}
		})
	}
}

func TestBacklogMistakes(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"{policy: drop_oldest}", `c.yaml:3:45: policy drop_oldest needs events or age: there is no bound to keep to [invalid]; such as max_backlog: {age: 72h, policy: drop_oldest}`},
		{"{events: -1}", `c.yaml:3:45: events and age must not be below 0 [invalid]`},
		{"{policy: drop}", `c.yaml:3:54: unknown value "drop" [unknown-name]; allowed: keep, drop_oldest`},
	} {
		in := least + "sinks:\n  a: {type: file, path: a.log, max_backlog: " + tt.in + "}\n"
		if _, got := parse(t, in); got != tt.want {
			t.Errorf("%s\n got %s\nwant %s", tt.in, got, tt.want)
		}
	}
}
