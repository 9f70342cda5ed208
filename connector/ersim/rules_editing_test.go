package ersim

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestRuleWords(t *testing.T) {
	conditions := tree("AND", leaf("column", "column_equal", []any{"a", "b"}))
	for _, tt := range []struct {
		path, severity string
		v4, v2         string // stored as, or HTTP status
	}{
		{"/rules/add", "WARNING", "MEDIUM", "WARNING"},
		{"/rules/add", "HIGH", "HIGH", "400"},
		{"/rules/add", "high", "400", "400"},
		{"/rules/add", "", "INFO", "INFO"},
		{"/rules/1", "WARNING", "400", "WARNING"},
		{"/rules/1", "LOW", "LOW", "400"},
		{"/rules/1", "", "<nil>", "<nil>"},
	} {
		for profile, want := range map[string]string{"4.0": tt.v4, "2.1.2": tt.v2} {
			r := newRig(t, Options{Profile: profile, Hosts: 1})
			body := obj{"name": "n", "conditions": conditions, "severity": tt.severity}
			if tt.severity == "" {
				delete(body, "severity")
			}
			w := r.send("POST", tt.path, body)
			got := fmt.Sprint(w.Code)
			if w.Code == http.StatusOK {
				id := len(r.s.rules)
				if tt.path == "/rules/1" {
					id = 1
				}
				got = fmt.Sprint(r.data("GET", fmt.Sprint("/rules/", id), nil).(obj)["severity"])
			}
			if got != want {
				t.Errorf("%s %s %q: got %s, want %s", profile, tt.path, tt.severity, got, want)
			}
		}
	}
}

func TestRuleUpdateReplaces(t *testing.T) {
	r := newRig(t, Options{Hosts: 1})
	r.data("POST", "/rules/disable", obj{"rule_ids": []int{4}})
	rule := r.data("POST", "/rules/4", obj{"name": "n", "conditions": tree("OR", leaf("action", "equal", "added")), "alerters": "email, rsyslog"}).(obj)
	for key, want := range map[string]string{
		"name": "n", "description": "<nil>", "severity": "<nil>", "type": "<nil>", "technique_id": "<nil>", "tactics": "[]", "platform": "all",
		"status": "INACTIVE", "alerters": "[email  rsyslog debug]",
	} {
		if got := fmt.Sprint(rule[key]); got != want {
			t.Errorf("%s: got %s, want %s", key, got, want)
		}
	}
	for name, body := range map[string]obj{
		"Rule with the name Mass file rename already exists!": {"name": "Mass file rename", "conditions": obj{}},
		"Technique id provided is invalid":                    {"name": "n", "conditions": obj{}, "technique_id": "T1003, T1059"},
		"Value should be provided!":                           {"name": "n", "conditions": tree("AND", leaf("action", "equal", ""))},
		"Unsupported operator: sounds_like":                   {"name": "n", "conditions": tree("AND", leaf("action", "sounds_like", "x"))},
	} {
		if out := r.call("POST", "/rules/4", body); out["status"] != "failure" || !strings.Contains(fmt.Sprint(out["message"]), name) {
			t.Errorf("%s: %v", name, out)
		}
	}
	if out := r.call("GET", "/rules/0", nil); out["message"] != "Missing rule id" {
		t.Errorf("rule 0: %v", out)
	}
}

func TestRulesComeBackFromTheDead(t *testing.T) {
	r := newRig(t, Options{Hosts: 1})
	all := len(r.data("GET", "/rules", nil).([]any))
	r.data("DELETE", "/rules/disable", obj{"rule_ids": []int{2, 3, 999}})
	if out := r.call("GET", "/rules/2", nil); out["status"] != "failure" {
		t.Errorf("deleted rule: %v", out)
	}
	page := r.data("POST", "/rules", obj{}).(obj)
	if n := len(r.data("GET", "/rules", nil).([]any)); n != all-2 || int(page["count"].(float64)) != n || int(page["total_count"].(float64)) != all {
		t.Errorf("%d names, page %v of %v", n, page["count"], page["total_count"])
	}
	// A rule of that name can be made again, and the old one comes back all the same.
	r.data("POST", "/rules/enable", obj{"rule_ids": []int{2}})
	r.data("POST", "/rules/disable", obj{"rule_ids": []int{3}})
	if one, two := r.data("GET", "/rules/2", nil).(obj), r.data("GET", "/rules/3", nil).(obj); one["status"] != "ACTIVE" || two["status"] != "INACTIVE" {
		t.Errorf("rules %v, %v", one["status"], two["status"])
	}
	if w := r.send("POST", "/rules/enable", obj{"rule_ids": []int{999}}); w.Code != http.StatusBadRequest {
		t.Errorf("unknown rule: %d", w.Code)
	}
}

func TestRulesListOrder(t *testing.T) {
	r := newRig(t, Options{Hosts: 1, AggregationWindow: -1})
	r.s.Raise(AlertSpec{Rule: "Software installed"})
	names := func(body obj) string {
		var texts []string
		for _, row := range r.results("/rules", body) {
			texts = append(texts, fmt.Sprint(row["name"]))
		}
		return strings.Join(texts, ", ")
	}
	for _, tt := range []struct {
		body obj
		want string
	}{
		{obj{"limit": 2}, "Software installed, Administrator logon"},
		{obj{"limit": 2, "column": "name"}, "Software installed, Administrator logon"}, // an order alone makes it count
		{obj{"limit": 2, "column": "name", "order_by": "DESC"}, "Unsigned library loaded, Software installed"},
		{obj{"limit": 1, "column": "alert_count", "order_by": "desc"}, "Software installed"},
		{obj{"limit": 1, "start": 1, "column": "created_at", "order_by": "asc"}, "Mass file rename"},
		{obj{"searchterm": "MSHTA"}, "Mshta runs a remote script"},
		{obj{"searchterm": "T1490"}, ""}, // release 2.1.2 looks there
	} {
		if got := names(tt.body); got != tt.want {
			t.Errorf("%v: got %q, want %q", tt.body, got, tt.want)
		}
	}
	for _, body := range []obj{{"order_by": "asc"}, {"alerts_count": false}, {"start": -1}} {
		if w := r.send("POST", "/rules", body); w.Code != http.StatusInternalServerError {
			t.Errorf("%v: %d", body, w.Code)
		}
	}
	r = newRig(t, Options{Profile: "2.1.2", Hosts: 1})
	if got := names(obj{"searchterm": "T1490", "order_by": "asc"}); got != "Boot recovery disabled, Shadow copies deleted" {
		t.Errorf("2.1.2: %q", got)
	}
}

func TestIOCRules(t *testing.T) {
	lists := func(r *rig) string {
		var texts []string
		for _, name := range sortedKeys(r.data("GET", "/iocs", nil).(obj)) {
			list := r.data("GET", "/iocs", nil).(obj)[name].(obj)
			texts = append(texts, fmt.Sprint(name, " ", list["severity"], " ", list["values"]))
		}
		return strings.Join(texts, "; ")
	}
	good := obj{"type": "md5", "severity": "odd", "values": "a, b"}
	for _, tt := range []struct {
		name   string
		data   any
		v4, v2 string
	}{
		{"as it should be", obj{"n": good}, "n MEDIUM a,b", "n odd a, b"},
		{"empty set", obj{}, "examples", "old INFO x"},
		{"values as a list", obj{"n": obj{"type": "md5", "severity": "INFO", "values": []string{"a"}}}, "examples", "old INFO x"},
		{"without type", obj{"n": good, "o": obj{"severity": "INFO", "values": "a"}}, "n MEDIUM a,b", "n odd a, b"},
		{"without values", obj{"n": good, "o": obj{"severity": "INFO", "type": "md5"}}, "old INFO x", "n odd a, b"},
	} {
		for profile, want := range map[string]string{"4.0": tt.v4, "2.1.2": tt.v2} {
			r := newRig(t, Options{Profile: profile, Hosts: 1})
			r.data("POST", "/iocs/add", obj{"data": obj{"old": obj{"type": "md5", "severity": "INFO", "values": "x"}}})
			out := r.call("POST", "/iocs/add", obj{"data": tt.data})
			if (out["status"] == "failure") != (tt.name == "without values") {
				t.Errorf("%s, %s: %v", profile, tt.name, out)
			}
			got := lists(r)
			if strings.HasPrefix(got, "test-intel_domain_name") {
				got = "examples"
			}
			if got != want {
				t.Errorf("%s, %s: got %q, want %q", profile, tt.name, got, want)
			}
		}
	}
}

func TestYARARules(t *testing.T) {
	r := newRig(t, Options{Hosts: 1})
	add := func(name, platform string) string {
		return r.sendFile("/yara/add", name, "rule x {}", map[string]string{"platform": platform}).Body.String()
	}
	list := func() string { return fmt.Sprint(r.data("GET", "/yara", nil)) }
	if got := add("Eicar.YAR", "windows,linux"); !strings.Contains(got, "Successfully uploaded") {
		t.Fatal(got)
	}
	if got := add("EICAR.yar", "darwin"); !strings.Contains(got, "already exists") {
		t.Error(got)
	}
	if got := add("a.txt", "darwin"); !strings.Contains(got, "files only") {
		t.Error(got)
	}
	if got := list(); got != "map[darwin:[] linux:[eicar.yar] windows:[eicar.yar]]" {
		t.Error(got)
	}
	// The names of the other calls are taken as they are written.
	r.data("PUT", "/yara/update", obj{"file_name": "EICAR.yar", "platform": "linux"})
	if got := list(); got != "map[darwin:[] linux:[eicar.yar EICAR.yar] windows:[eicar.yar]]" {
		t.Error(got)
	}
	if out := r.call("POST", "/yara/delete", obj{"file_name": "Eicar.yar", "platform": "linux"}); out["status"] != "failure" {
		t.Error(out)
	}
	r.data("POST", "/yara/delete", obj{"file_name": "eicar.yar", "platform": "linux"})
	if out := r.data("POST", "/yara/view", obj{"file_name": "EICAR.YAR"}); out != "rule x {}" {
		t.Errorf("a platform still has it: %v", out)
	}
	r.data("POST", "/yara/delete", obj{"file_name": "eicar.yar", "platform": "windows"})
	if out := r.call("POST", "/yara/view", obj{"file_name": "eicar.yar"}); out["message"] != "file not found" {
		t.Error(out)
	}
	if w := r.send("POST", "/yara/delete", obj{"file_name": "x.yar", "platform": "amiga"}); w.Code != http.StatusBadRequest {
		t.Errorf("platform: %d", w.Code)
	}
	r.login("analyst")
	if w := r.send("POST", "/yara/delete", obj{"file_name": "x.yar", "platform": "linux"}); w.Code != http.StatusForbidden {
		t.Errorf("analyst: %d", w.Code)
	}

	old := newRig(t, Options{Profile: "2.1.2", Hosts: 1})
	if w := old.sendFile("/yara/add", "noext", "rule x {}", nil); w.Code != http.StatusInternalServerError {
		t.Errorf("2.1.2 without a point: %d", w.Code)
	}
	if got := old.sendFile("/yara/add", "A.yara", "", nil).Body.String(); !strings.Contains(got, "Successfully uploaded") {
		t.Errorf("2.1.2 takes an empty file: %s", got)
	}
	if got := fmt.Sprint(old.data("GET", "/yara", nil)); got != "[a.yara]" {
		t.Error(got)
	}
}

// TestDisabledRulesRaiseNothing: neither a disabled rule nor a deleted one makes an
// alert or is absorbed by one, and older alerts tell the rule's status.
func TestDisabledRulesRaiseNothing(t *testing.T) {
	r := newRig(t, Options{Hosts: 1})
	spec := AlertSpec{Rule: "Credential dumping", Columns: map[string]string{"action": actProcess, "cmdline": "sekurlsa", "eid": "one"}}
	id := r.s.Raise(spec)
	rule := r.s.findRule(spec.Rule).id
	status := func() string {
		row := r.results("/alerts", obj{})[0]
		detail := r.data("GET", fmt.Sprint("/alerts/", id), nil).(obj)
		return fmt.Sprint(row["rule"].(obj)["status"], " ", detail["rule"].(obj)["status"], " ", row["aggregated_events_count"])
	}
	if got := status(); got != "ACTIVE ACTIVE 0" {
		t.Error(got)
	}
	r.data("POST", "/rules/disable", obj{"rule_ids": []int64{rule}})
	spec.Columns["eid"] = "two"
	if got := r.s.Raise(spec); got != 0 || status() != "INACTIVE INACTIVE 0" {
		t.Errorf("disabled: alert %d, %s", got, status())
	}
	found := fmt.Sprint(r.data("POST", "/search", obj{"conditions": obj{"condition": "AND", "rules": []obj{{
		"id": "eid", "field": "eid", "type": "string", "input": "text", "operator": "equal", "value": "two",
	}}}}))
	if !strings.Contains(found, "count:1") {
		t.Errorf("the event itself was lost: %s", found)
	}
	r.data("POST", "/rules/enable", obj{"rule_ids": []int64{rule}})
	if got := r.s.Raise(spec); got != id || status() != "ACTIVE ACTIVE 1" {
		t.Errorf("enabled again: alert %d, %s", got, status())
	}
	r.data("DELETE", "/rules/disable", obj{"rule_ids": []int64{rule}})
	if got := r.s.Raise(spec); got != 0 || status() != "DELETED DELETED 1" {
		t.Errorf("deleted: alert %d, %s", got, status())
	}
	if err := r.s.RaiseLoad(AlertSpec{Rule: spec.Rule}, 1, 0); err == nil {
		t.Error("a load of a deleted rule was taken")
	}
}
