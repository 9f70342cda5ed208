package playbooks

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// JSON has larger numbers than float64.
func TestPlainAlertKeepsHugeNumbersAsText(t *testing.T) {
	plain, err := plainAlert(&soar.Alert{Intel: json.RawMessage(`{"score": 1e999, "n": [2, -1e999], "ok": 0.5}`)})
	if err != nil {
		t.Fatal(err)
	}
	intel, _ := plain["intel"].(map[string]any)
	list, _ := intel["n"].([]any)
	if intel["score"] != "1e999" || intel["ok"] != 0.5 || len(list) != 2 || list[0] != 2.0 || list[1] != "-1e999" {
		t.Errorf("intel is %#v", plain["intel"])
	}
}

// What cannot be evaluated is a verdict, and is not tried again for ever.
func TestPoisonAlertEndsItsEvaluation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		set := loadText(t, actions, threeSteps)
		_, stop := running(t, j, actions, set, EngineOptions{})
		huge, broken := testAlert("1"), testAlert("2")
		huge.Intel, broken.Intel = json.RawMessage(`{"score": 1e999}`), json.RawMessage(`{"score":`)
		j.put(t, huge, broken)
		time.Sleep(time.Minute)
		stop()
		if stateOf(j.all()) != "done" || j.pending() != 0 {
			t.Errorf("runs %s, %d pending", stateOf(j.all()), j.pending())
		}
		if v := j.verdict(0, "three"); v != "match" {
			t.Errorf("verdict on a huge number: %q", v)
		}
		if v := j.verdict(1, "three"); !strings.HasPrefix(v, "error: intel: ") {
			t.Errorf("verdict on broken JSON: %q", v)
		}
	})
}

// A playbook whose start panics gets that as its verdict; the others go on, and its
// cool-down is free.
func TestPanicWhileARunStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		set := loadText(t, actions, threeSteps, "playbook: bad\ncooldown: {key: .alert.host.name, for: 1h}\nsteps: [{do: fake.repeat}]")
		for _, pb := range set.playbooks {
			if pb.Name == "bad" {
				pb.steps[0] = nil
			}
		}
		_, stop := running(t, j, actions, set, EngineOptions{})
		j.put(t, testAlert("1"), testAlert("2"))
		time.Sleep(time.Minute)
		stop()
		if stateOf(j.all()) != "done done" || j.pending() != 0 {
			t.Errorf("runs %s, %d pending", stateOf(j.all()), j.pending())
		}
		for n := range 2 {
			if v := j.verdict(n, "bad"); !strings.HasPrefix(v, "error: panic: ") {
				t.Errorf("verdict %d: %q", n, v)
			}
			if v := j.verdict(n, "three"); v != "match" {
				t.Errorf("verdict %d of the good playbook: %q", n, v)
			}
		}
	})
}
