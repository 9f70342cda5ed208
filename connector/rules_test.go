package connector

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// ruleServer keeps one rule, with the id 1, as release 2.1.2 does: an update
// replaces all but the status. meddle may change what is kept.
type ruleServer struct {
	mu     sync.Mutex
	rule   map[string]any
	writes int
	meddle func(rule map[string]any)
	lose   bool // the answer to an update
}

func (s *ruleServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.URL.Path != "/api/rules/1" {
		answerJSON(w, http.StatusOK, `{"status":"failure","message":"Rule with this id does not exist"}`)
		return
	}
	if r.Method == http.MethodPost {
		s.writes++
		var in map[string]any
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		rule := map[string]any{"id": 1, "status": s.rule["status"]}
		for _, key := range []string{"name", "description", "conditions", "severity", "type", "technique_id"} {
			rule[key] = in[key]
		}
		if in["status"] != nil {
			rule["status"] = in["status"]
		}
		for _, key := range []string{"tactics", "alerters"} {
			text, _ := in[key].(string)
			rule[key] = strings.FieldsFunc(text, func(r rune) bool { return r == ',' })
		}
		s.rule = rule
		if s.meddle != nil {
			s.meddle(s.rule)
		}
		if s.lose {
			panic(http.ErrAbortHandler)
		}
	}
	text, err := json.Marshal(s.rule)
	if err != nil {
		panic(err)
	}
	answerJSON(w, http.StatusOK, dataAnswer(string(text)))
}

func newRuleServer(t *testing.T, change map[string]any) (*ruleServer, *Client) {
	t.Helper()
	s := &ruleServer{rule: map[string]any{
		"id": 1, "name": "n", "description": "d", "severity": "WARNING", "type": "MITRE", "status": "INACTIVE", "technique_id": "T1003,T1059",
		"tactics": []string{"execution"}, "alerters": []string{"debug", "rsyslog"},
		"conditions": map[string]any{"condition": "AND", "odd": 1.50, "rules": []any{
			map[string]any{"id": 7, "field": "column", "operator": "column_contains", "value": []any{"cmdline", "x"}, "extra": "<&>"},
		}},
	}}
	maps.Copy(s.rule, change)
	return s, newClient(t, newServer(t, s.ServeHTTP).URL)
}

func TestModifyChangesNothingElse(t *testing.T) {
	for name, change := range map[string]map[string]any{
		"as usual":               nil,
		"nothing set":            {"description": nil, "severity": nil, "type": nil, "technique_id": nil, "tactics": []string{}},
		"words of other servers": {"severity": "odd", "type": "own", "alerters": []string{"debug", "pagerduty"}},
		"unknown conditions":     {"conditions": map[string]any{"all_of": []any{"x"}}},
	} {
		t.Run(name, func(t *testing.T) {
			s, c := newRuleServer(t, change)
			before := maps.Clone(s.rule)
			rule, err := c.Rules.Modify(t.Context(), 1, func(spec *RuleSpec) error {
				spec.Name = "new"
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			before["name"] = "new"
			got, want := jsonOf(t, s.rule), jsonOf(t, before)
			if got != want || rule.Name != "new" {
				t.Errorf("rule\n got %s\nwant %s", got, want)
			}
		})
	}
}

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestModifyConditions(t *testing.T) {
	s, c := newRuleServer(t, nil)
	rule, err := c.Rules.Modify(t.Context(), 1, func(spec *RuleSpec) error {
		spec.Condition.Of[0].Value = "y" // in place
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	condition, err := rule.Condition()
	if err != nil || !condition.equal(And(Where("cmdline", OpContains, "y"))) {
		t.Errorf("conditions %s, %v", jsonOf(t, s.rule["conditions"]), err)
	}
}

func TestModifyNoticesAnotherWriter(t *testing.T) {
	for what, meddle := range map[string]func(map[string]any){
		"severity":   func(r map[string]any) { r["severity"] = nil },
		"type":       func(r map[string]any) { r["type"] = "DEFAULT" },
		"status":     func(r map[string]any) { r["status"] = "ACTIVE" },
		"techniques": func(r map[string]any) { r["technique_id"] = "T1003" },
		"alerters":   func(r map[string]any) { r["alerters"] = []string{"debug"} },
		"conditions": func(r map[string]any) { r["conditions"] = map[string]any{"condition": "OR"} },
	} {
		s, c := newRuleServer(t, nil)
		s.meddle = meddle
		_, err := c.Rules.Modify(t.Context(), 1, func(*RuleSpec) error { return nil })
		if !errors.Is(err, ErrConflict) || !strings.HasSuffix(err.Error(), ": "+what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestModifiesOfOneClientWaitForEachOther(t *testing.T) {
	s, c := newRuleServer(t, nil)
	var all sync.WaitGroup
	for _, tactic := range []string{"collection", "discovery", "exfiltration", "impact", "persistence"} {
		all.Go(func() {
			_, err := c.Rules.Modify(t.Context(), 1, func(spec *RuleSpec) error {
				spec.Tactics = append(spec.Tactics, tactic)
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got, _ := s.rule["tactics"].([]string); len(got) != 6 {
		t.Errorf("tactics %q", got)
	}
}

func TestModifyWithoutAnswer(t *testing.T) {
	s, c := newRuleServer(t, nil)
	s.lose = true
	rename := func(spec *RuleSpec) error {
		spec.Name = "new"
		return nil
	}
	if rule, err := c.Rules.Modify(t.Context(), 1, rename); err != nil || rule.Name != "new" || s.writes != 1 {
		t.Errorf("got %q, %v after %d writes", rule.Name, err, s.writes)
	}
	s.meddle = func(r map[string]any) { r["name"] = "other" }
	if _, err := c.Rules.Modify(t.Context(), 1, rename); !errors.Is(err, ErrUncertain) || !errors.Is(err, ErrConflict) {
		t.Errorf("lost and not done: %v", err)
	}
}

func TestRulesBadInput(t *testing.T) {
	s, c := newRuleServer(t, nil)
	ctx := t.Context()
	good := RuleSpec{Name: "n", Severity: "INFO", Type: "DEFAULT", Condition: Where("cmdline", OpContains, "x")}
	change := func(f func(*RuleSpec)) RuleSpec {
		spec := good
		f(&spec)
		return spec
	}
	for _, tt := range []struct {
		name, says string
		spec       RuleSpec
	}{
		{"name", "no name", change(func(s *RuleSpec) { s.Name = " " })},
		{"severity", `severity "high" is none of INFO, LOW`, change(func(s *RuleSpec) { s.Severity = "high" })},
		{"type", `type "mitre"`, change(func(s *RuleSpec) { s.Type = "mitre" })},
		{"status", `status "on"`, change(func(s *RuleSpec) { s.Status = "on" })},
		{"platform", `platform "ubuntu"`, change(func(s *RuleSpec) { s.Platform = "ubuntu" })},
		{"alerter", `alerter "slack"`, change(func(s *RuleSpec) { s.Alerters = []string{"slack"} })},
		{"sub-technique", `technique "T1003.001"`, change(func(s *RuleSpec) { s.Techniques = []string{"T1003", "T1003.001"} })},
		{"technique with a blank", `technique " T1003"`, change(func(s *RuleSpec) { s.Techniques = []string{" T1003"} })},
		{"tactic", "has a comma", change(func(s *RuleSpec) { s.Tactics = []string{"a,b"} })},
		{"no condition", "either a column or a field", change(func(s *RuleSpec) { s.Condition = Condition{} })},
		{"empty group", "a group is empty", change(func(s *RuleSpec) { s.Condition = Or() })},
	} {
		_, err := c.Rules.Add(ctx, tt.spec)
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("add, %s: %v", tt.name, err)
		}
		_, err = c.Rules.Modify(ctx, 1, func(spec *RuleSpec) error {
			*spec = tt.spec
			return nil
		})
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("modify, %s: %v", tt.name, err)
		}
	}
	stop := errors.New("stop")
	for name, tt := range map[string]struct{ err, is error }{
		"consent":        {second(c.Rules.Replace(ctx, 1, good, "")), ErrInvalid},
		"no severity":    {second(c.Rules.Replace(ctx, 1, change(func(s *RuleSpec) { s.Severity = "" }), ReplaceEverything)), ErrInvalid},
		"no type":        {second(c.Rules.Replace(ctx, 1, change(func(s *RuleSpec) { s.Type = "" }), ReplaceEverything)), ErrInvalid},
		"unknown rule":   {second(c.Rules.Replace(ctx, 2, good, ReplaceEverything)), ErrNotFound},
		"unknown rule 2": {second(c.Rules.Modify(ctx, 2, func(*RuleSpec) error { return nil })), ErrNotFound},
		"change":         {second(c.Rules.Modify(ctx, 1, func(*RuleSpec) error { return stop })), stop},
		"delete":         {c.Rules.Delete(ctx, ReplaceEverything, 1), ErrInvalid},
		"no ids":         {c.Rules.Enable(ctx), ErrInvalid},
		"column":         {second(c.Rules.Page(ctx, RuleQuery{Column: "severity"})), ErrInvalid},
		"no technique":   {second(c.Rules.Tactics(ctx)), ErrInvalid},
		"technique":      {second(c.Rules.Tactics(ctx, "T1003,T1004")), ErrInvalid},
	} {
		if !errors.Is(tt.err, tt.is) {
			t.Errorf("%s: %v", name, tt.err)
		}
	}
	if s.writes != 0 {
		t.Errorf("%d writes", s.writes)
	}
}

func TestRulesOddAnswers(t *testing.T) {
	ctx := t.Context()
	c := answers(t, map[string]any{
		"/rules/add":     `{"status":"success","message":"ok"}`,
		"/rules/tactics": dataAnswer(`{}`),
		"/rules":         dataAnswer(`{"results":[{"name":"without id"},{"id":"3","name":"n","severity":null,"alerters":null,"conditions":{}}]}`),
		"/rules/3":       dataAnswer(`{}`),
	})
	good := RuleSpec{Name: "n", Condition: Where("cmdline", OpContains, "x")}
	if _, err := c.Rules.Add(ctx, good); !errors.Is(err, ErrNotJSON) {
		t.Errorf("no id: %v", err)
	}
	if _, err := c.Rules.Tactics(ctx, "T1003"); !errors.Is(err, ErrNotJSON) {
		t.Errorf("no tactics: %v", err)
	}
	if _, err := c.Rules.Get(ctx, 3); !errors.Is(err, ErrNotFound) {
		t.Errorf("empty rule: %v", err)
	}
	page, err := c.Rules.Page(ctx, RuleQuery{})
	if err != nil || len(page.Results) != 1 || page.Results[0].ID != 3 || len(page.Malformed) != 1 {
		t.Errorf("page: %+v, %v", page, err)
	}
	if _, err := page.Results[0].Condition(); err == nil {
		t.Error("a rule without conditions has some")
	}
	// Old servers have no short list, and then nothing is switched.
	old := answers(t, nil)
	if err := old.Rules.Enable(ctx, 1); !errors.Is(err, ErrUnavailable) {
		t.Errorf("old server: %v", err)
	}
}
