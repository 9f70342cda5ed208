package playbooks

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// What no alert starts is explained as it is asked: the clock, a person, a failed run.
func TestExplainTriggers(t *testing.T) {
	actions := newFakeServer().actions()
	at := time.Date(2026, 5, 6, 10, 0, 0, 0, time.UTC)
	run := &soar.Run{ID: soar.NewRunID(at), Playbook: "other", Mode: soar.ModeEnforce, State: soar.RunFailed, Alert: "er-1", StartedAt: at, EndedAt: at, Error: "step x: no"}
	alert := testAlert("1")
	for _, tt := range []struct {
		name, on, match, text string
		trigger               Trigger
		verdict               Verdict
		want                  []string // parts of the text
	}{
		{
			"clock", "{schedule: {every: 6h}}", "", "${{ .schedule.at }}, ${{ .schedule.missed }} missed, ${{ .alert }}", Trigger{On: "schedule", At: at, Missed: 2}, Match,
			[]string{"p by the clock at 2026-05-06T10:00:00Z: match\n  and then at 2026-05-06T12:00:00Z, 2026-05-06T18:00:00Z, 2026-05-07T00:00:00Z\n", "    text: 2026-05-06T10:00:00Z, 2 missed, \n"},
		},
		{"clock with a zone", "{schedule: {cron: 0 7 * * mon, zone: Europe/Berlin}}", "", "x", Trigger{On: "schedule", At: at}, Match, []string{"and then at 2026-05-11T07:00:00+02:00, "}},
		{"person", "manual", ".input.really == true", "${{ .input.word }}", Trigger{Input: map[string]any{"really": true, "word": "hello"}}, Match, []string{"p by hand: match\n", "    text: hello\n"}},
		{"person without words", "manual", ".input.really == true", "x", Trigger{}, NoMatch, []string{"p by hand: no match\n", `only "it is so" stands against a match`}},
		{"person with an alert", "manual", `.alert.severity == "high"`, "${{ .alert.id }}", Trigger{Alert: &alert}, Match, []string{"p on er-1: match\n", "    text: 1\n"}},
		{
			"failed run", "run.failed", `.run.playbook == "other"`, "${{ .run.error }} of ${{ .run.alert }}", Trigger{On: "run.failed", Failed: run, Alert: &alert}, Match,
			[]string{"p on the failed run " + run.ID.String() + " of er-1: match\n", "    text: step x: no of er-1\n"},
		},
		{
			"some failed run", "run.failed", "", "${{ .run.error }}", Trigger{On: "run.failed"}, Match,
			[]string{"p on a failed run: match\n", "step tell: fake.tell depends on what nobody knows here: no failed run is named\n", "step note: fake.tell is sent"},
		},
		{
			"some failed run that is asked for", "run.failed", `.run.playbook == "other"`, "x", Trigger{On: "run.failed"}, Unknown,
			[]string{"p on a failed run: unknown (it is so: no failed run is named)\n", "    ? it is so: unknown: no failed run is named\n", "  should it match:\n  step tell: fake.tell is sent"},
		},
		{"its alert", "run.failed", `.alert == null`, "x", Trigger{On: "run.failed"}, Unknown, []string{"no failed run is named"}},
		{"its known alert", "run.failed", `.alert == null`, "x", Trigger{On: "run.failed", Alert: &alert}, NoMatch, []string{"p on a failed run of er-1: no match\n"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := "playbook: p\non: [" + tt.on + "]\n"
			if tt.match != "" {
				text += "match: {all: [{it is so: '" + tt.match + "'}]}\n"
			}
			text += "steps: [{id: tell, do: fake.tell, with: {text: '" + tt.text + "'}}, {id: note, do: fake.tell}]"
			x, err := ExplainTrigger(t.Context(), loadText(t, actions, text).Get("p"), tt.trigger, ExplainOptions{Actions: actions, Now: func() time.Time { return at }})
			if err != nil || x.Verdict != tt.verdict {
				t.Fatalf("verdict %s (%s), %v", x.Verdict, x.Error, err)
			}
			for _, part := range tt.want {
				if !strings.Contains(x.Text(), part) {
					t.Errorf("the text lacks %q:\n%s", part, x.Text())
				}
			}
		})
	}
}

// Without stored alerts nobody knows .count: that is said, and it is no error, no
// match and no mismatch. Where the verdict does not depend on it, it stands.
func TestExplainWithoutHistory(t *testing.T) {
	actions := newFakeServer().actions()
	for _, tt := range []struct {
		name, match string
		want        Verdict
		err         string
	}{
		{"it decides", "all: [{there are many: .count > 3}]", Unknown, "there are many: like alerts can be counted only where alerts are stored"},
		{"it decides against", "none: [{there are many: .count > 3}]", Unknown, "there are many: like"},
		{"something else decides", "all: [{there are many: .count > 3}, {it is low: '.alert.severity == \"low\"'}]", NoMatch, ""},
		{"one of them is enough", "any: [{there are many: .count > 3}, {it is high: '.alert.severity == \"high\"'}]", Match, ""},
		{"one of them would be", "any: [{there are many: .count > 3}, {it is low: '.alert.severity == \"low\"'}]", Unknown, "there are many: like"},
		{"its error", "all: [{it is counted: .enrich_errors.count == null}]", Unknown, "it is counted: like"},
		{"another error", "all: [{there are many: .count > 3}, {it breaks: '.alert.severity | error'}]", Unknown, "there are many: like"},
		{"an error anyway", "any: [{it breaks: '.alert.severity | error'}]", Failed, "it breaks: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			set := loadText(t, actions, "playbook: p\ncount: {by: .alert.host.identifier, window: 1h}\nmatch:\n  "+tt.match+
				"\nsteps: [{id: tell, do: fake.tell, with: {n: '${{ .count }}'}}]")
			x, err := Explain(t.Context(), set.Get("p"), testAlert("1"), actions)
			if err != nil || x.Verdict != tt.want || !strings.HasPrefix(x.Error, tt.err) || x.EnrichErrors["count"] != nil {
				t.Fatalf("verdict %s (%s), %v, %v", x.Verdict, x.Error, x.EnrichErrors, err)
			}
			if tt.want != Failed && (x.Steps[0].Plan != PlanUnknown || x.Steps[0].With != nil) {
				t.Errorf("step %+v", x.Steps[0])
			}
		})
	}
}

// The text tells of look-ups that found nothing, failed, or fell back on an old answer.
func TestExplainTellsOfLookUps(t *testing.T) {
	server := newFakeServer()
	actions := server.actions()
	for name, err := range map[string]error{"look.empty": nil, "look.absent": fmt.Errorf("hash: %w", soar.ErrNotFound), "look.down": errors.New("down")} {
		server.add(actions, name, Reads, func(context.Context, Call) (Outcome, error) {
			return Outcome{State: soar.StepExecuted, Output: []any{}}, err
		})
	}
	set := loadText(t, actions, "playbook: p\nenrich: {a: {do: look.empty}, b: {do: look.absent}, c: {do: look.down}, d: {do: fake.read}}\nsteps: [{do: fake.tell}]")
	x, err := Explain(t.Context(), set.Get("p"), testAlert("1"), actions)
	if err != nil {
		t.Fatal(err)
	}
	text := x.Text()
	for _, want := range []string{"  enrichment a found nothing\n", "  enrichment b found nothing: hash: not found\n", "  enrichment c failed: down\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("the text lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "enrichment d") {
		t.Errorf("what is simply there needs no word:\n%s", text)
	}
	x.EnrichStatus = map[string]any{
		"a":    map[string]any{"state": stateEmpty, "stale": true, "age_seconds": 90},
		"d":    map[string]any{"state": stateFound, "stale": true, "age_seconds": 3600},
		"host": map[string]any{"state": stateFailed, "stale": false, "age_seconds": nil},
	}
	x.EnrichErrors = map[string]any{"host": "down"}
	text = x.Text()
	for _, want := range []string{
		"  enrichment a found nothing 90 seconds ago, and could not be looked up again\n",
		"  enrichment d is 3600 seconds old, and could not be looked up again\n", "  the host record failed: down\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the text lacks %q:\n%s", want, text)
		}
	}
}
