package ersim

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// refusal makes a call and tells how it was refused, as in "200 text" or "400 body";
// "success" if it was not.
func (r *rig) refusal(method, path string, body any) string {
	r.t.Helper()
	w := r.send(method, path, body)
	if w.Code != http.StatusOK {
		return fmt.Sprintf("%d %s", w.Code, strings.TrimSpace(w.Body.String()))
	}
	var out struct{ Status, Message string }
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
		r.t.Fatalf("%s %s: %s: %v", method, path, w.Body, err)
	}
	if out.Status != "failure" {
		return out.Status
	}
	return "200 " + out.Message
}

func keys(v any) string {
	o, _ := v.(obj)
	return strings.Join(slices.Sorted(maps.Keys(o)), " ")
}

func TestConfigShapes(t *testing.T) {
	r := newRig(t, Options{Hosts: 9})
	all := r.data("GET", "/configs", nil).(obj)
	if got := keys(all); got != "darwin linux windows" {
		t.Error(got)
	}
	linux := all["linux"].(obj)["Default"].(obj)
	if got := keys(linux); got != "conditions description filters id is_default queries" {
		t.Error(got)
	}
	if got := keys(linux["queries"].(obj)["arp_cache"]); got != "description id interval platform query removed shard snapshot status value version" {
		t.Error(got)
	}
	for platform, named := range all {
		if n := len(named.(obj)["Default"].(obj)["queries"].(obj)); n < 10 {
			t.Errorf("the default of %s has %d queries", platform, n)
		}
	}
	one := r.data("GET", "/configs/1", nil).(obj)
	if got := keys(one) + "; " + keys(one["queries"].(obj)["arp_cache"]); got != "conditions description filters name queries; interval status" {
		t.Error(got)
	}
	hosts := r.data("GET", "/configs/3/hosts", nil).([]any)
	if got := keys(hosts[0]); got != "display_name host_identifier id is_active last_ip os_info state tags" {
		t.Error(got)
	}
}

// TestConfigAddRules lists what the server makes of odd configs.
func TestConfigAddRules(t *testing.T) {
	query := obj{"query": "select 1;", "interval": 60, "status": true}
	base := func(change obj) obj {
		body := obj{"name": "n", "platform": "windows", "conditions": obj{}, "queries": obj{"users": query}}
		maps.Copy(body, change)
		return body
	}
	for _, tt := range []struct {
		name   string
		change obj
		want   string
	}{
		{"good", nil, "success"},
		{"without conditions", obj{"conditions": obj{"hostname": obj{"value": "WIN"}}}, "success"},
		{"conditions null", obj{"conditions": nil}, "200 " + badConditions},
		{"conditions of another kind", obj{"conditions": obj{"serial": obj{"value": "1"}}}, "200 " + badConditions},
		{"empty condition", obj{"conditions": obj{"os_name": obj{"value": ""}}}, "200 " + badConditions},
		{"conditions text", obj{"conditions": "{}"}, `400 {"message":{"conditions":"conditions to auto assign config"}}`},
		{"platform", obj{"platform": "posix"}, `400 {"message":{"platform":"platform name(windows/linux/darwin)"}}`},
		{"blank name", obj{"name": " "}, "200 " + badConfigName},
		{"taken name", obj{"name": "Default"}, "200 " + takenConfigName},
		{"query without interval", obj{"queries": obj{"users": obj{"status": true}}}, "200 " + badConfigQueries},
		{"query in the guide's format", obj{"queries": obj{"users": obj{"status": true, "interval": 1}}}, "success"},
		{"query whose SQL is no text", obj{"queries": obj{"users": obj{"status": true, "interval": 1, "query": 5}}}, `500 {"message":"Internal Server Error"}`},
		{"unknown query without SQL", obj{"queries": obj{"nosuch": obj{"status": true, "interval": 1}}}, "success"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := newRig(t, Options{}).refusal("POST", "/configs", base(tt.change)); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// TestConfigUnknownID: this section alone answers HTTP 404 with JSON.
func TestConfigUnknownID(t *testing.T) {
	r := newRig(t, Options{})
	for _, call := range [][2]string{{"GET", "/configs/99"}, {"PUT", "/configs/99"}, {"DELETE", "/configs/99"}, {"PUT", "/configs/99/assign"}, {"GET", "/configs/99/hosts"}} {
		if got := r.refusal(call[0], call[1], obj{"tags": "web"}); got != `404 {"message":"Config id is not valid!"}` {
			t.Errorf("%v: %s", call, got)
		}
	}
	if got := r.refusal("PUT", "/configs/1/assign", obj{"tags": ""}); got != `400 {"message":"Host Identifiers or Tags are required!"}` {
		t.Error(got)
	}
}

// TestConfigUpdatePassesOver lists changes that are success and do nothing.
func TestConfigUpdatePassesOver(t *testing.T) {
	r := newRig(t, Options{})
	before := encodeJSON(r.data("GET", "/configs", nil))
	for name, change := range map[string]obj{
		"name of a default":       {"name": "mine"},
		"conditions of a default": {"conditions": obj{"hostname": obj{"value": "x"}}},
		"empty filters":           {"filters": obj{}},
		"a query it has not":      {"queries": obj{"nosuch": obj{"status": false, "interval": 1}}},
		"an unknown argument":     {"platform": "linux"},
	} {
		body := obj{"conditions": obj{}}
		maps.Copy(body, change)
		if got := r.refusal("PUT", "/configs/3", body); got != "success" {
			t.Errorf("%s: %s", name, got)
		}
		if after := encodeJSON(r.data("GET", "/configs", nil)); string(after) != string(before) {
			t.Errorf("%s changed something", name)
		}
	}
	if got := r.refusal("PUT", "/configs/3", obj{"name": "mine"}); got != "200 "+badConditions {
		t.Error(got)
	}
}

// TestStockQueriesAreValid: what a new server has must pass its own check.
func TestStockQueriesAreValid(t *testing.T) {
	r := newRig(t, Options{})
	for _, q := range r.s.scheduled.all {
		if !r.s.validSQL(q.sql) {
			t.Errorf("%s: %s", q.name, q.sql)
		}
	}
	for _, k := range r.s.configs.all {
		for _, q := range k.queries {
			if !r.s.validSQL(q.sql) {
				t.Errorf("%s: %s", q.name, q.sql)
			}
		}
	}
}
