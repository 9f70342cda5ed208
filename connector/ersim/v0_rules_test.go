package ersim

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestV0Rules(t *testing.T) {
	bothProfiles(t, func(t *testing.T, r *rig) {
		conditions := obj{"condition": "AND", "valid": true, "rules": []obj{{
			"id": "column", "type": "string", "field": "column", "input": "text", "operator": "column_contains", "value": []string{"domain_name", "it's"},
		}}}
		rule := obj{"name": "mine", "description": "finds something", "conditions": conditions, "alerters": "email", "severity": "CRITICAL"}
		out := r.v0("POST", "/rules/add", rule)
		if keys(out) != "message rule_id status" {
			t.Fatal(out)
		}
		path := fmt.Sprint("/rules/", out["rule_id"])
		got := r.v0Data("GET", path, nil).(obj)
		if keys(got) != "alerters conditions description id name status updated_at" || fmt.Sprint(got["alerters"]) != "[email debug]" || got["status"] != "ACTIVE" {
			t.Error(got)
		}
		const printed = `{'rules': [{'id': 'column', 'type': 'string', 'field': 'column', 'input': 'text', ` +
			`'value': ['domain_name', "it's"], 'operator': 'column_contains'}], 'valid': True, 'condition': 'AND'}`
		if r.s.older() {
			if below(got, "conditions", "condition") != "AND" || !strings.HasSuffix(got["updated_at"].(string), " GMT") {
				t.Error(got)
			}
		} else if got["conditions"] != printed {
			t.Errorf("got %v\nwant %s", got["conditions"], printed)
		}
		rows := r.v0Data("GET", "/rules/", nil).([]any)
		if last := rows[len(rows)-1]; fmt.Sprint(last) != fmt.Sprint(got) {
			t.Errorf("listed as %v", last)
		}
		rule["name"], rule["status"] = "renamed", "INACTIVE"
		if changed := r.v0Data("POST", path, rule).(obj); changed["name"] != "renamed" || changed["status"] != "INACTIVE" {
			t.Error(changed)
		}
		if !r.s.older() {
			if v1 := r.data("GET", path, nil).(obj); v1["name"] != "renamed" || v1["severity"] != "CRITICAL" {
				t.Errorf("through v1: %v", v1)
			}
		}
		r.v0Fails("POST", "/rules/add", rule) // there is one of that name
		rule["name"], rule["technique_id"] = "other", "T1003.001"
		r.v0Fails("POST", "/rules/add", rule)
		delete(rule, "technique_id")
		r.v0Fails("POST", "/rules/999", rule)
		r.v0Fails("GET", "/rules/999", nil)
		rule["conditions"] = obj{"condition": "AND", "rules": []obj{}}
		r.v0Fails("POST", "/rules/add", rule)
		w := r.sendTo(r.s.profile.base0+"/rules/add", "POST", obj{"name": "a"})
		if w.Code != http.StatusBadRequest || keys(r.object(w)["errors"]) != "conditions description" {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}
