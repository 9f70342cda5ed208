package ersim

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestSettingsRules(t *testing.T) {
	r := newRig(t, Options{})
	const path = "/management/settings"
	for _, tt := range []struct {
		body obj
		text string
	}{
		{obj{"purge_data_duration": "0"}, "greater than 0 days"},
		{obj{"purge_data_duration": 70}, "less than 70 days"},
		{obj{"purge_data_duration": "a week"}, "valid integer"},
		{obj{"alert_aggregation_duration": "86401"}, "less than 86400"},
		{obj{"alert_aggregation_duration": "1.5"}, "valid integer"},
		{obj{"sso_configuration": obj{"app_name": "er", "entity_id": "x"}}, "Please provide idp_metadata_url"},
	} {
		r.refused("PUT", path, tt.body, tt.text)
	}
	r.code("PUT", path, obj{"sso_enable": "yes"}, http.StatusBadRequest)
	r.code("PUT", path, obj{"sso_enable": true}, http.StatusBadRequest)
	r.code("PUT", path, obj{"sso_configuration": "text"}, http.StatusBadRequest)
	want := fmt.Sprint(obj{"purge_data_duration": "7", "alert_aggregation_duration": "60"})
	if got := fmt.Sprint(r.data("GET", path, nil)); got != want {
		t.Errorf("after refusals: %s", got)
	}
	r.code("PUT", path, obj{}, http.StatusInternalServerError)
	r.code("PUT", path, obj{"sso_enable": "true"}, http.StatusInternalServerError)
	if set := r.data("GET", path, nil).(obj); set["sso_enable"] != "true" {
		t.Errorf("the crash comes after the setting is stored: %v", set)
	}
	r.data("PUT", path, obj{"alert_aggregation_duration": 0})
	if set := r.data("GET", path, nil).(obj); set["alert_aggregation_duration"] != "0" || set["purge_data_duration"] != "7" {
		t.Errorf("settings: %v", set)
	}
	host := r.s.Hosts()[0].Identifier
	if a, b := r.s.Raise(AlertSpec{Host: host}), r.s.Raise(AlertSpec{Host: host}); a == b {
		t.Error("a match joined an alert although the window is closed")
	}
}

func TestKeysAreCheckedOneByOne(t *testing.T) {
	r := newRig(t, Options{})
	const path, good = "/management/apikeys", "44c8b4325d9579f701cd4cc01c0c84c1c3887b67ca4eeb6cc2f923b24dbed31f"
	for _, tt := range []struct {
		body                   obj
		status, stored, errors string
	}{
		{obj{}, "success", "", ""},
		{obj{"IBMxForceKey": "k"}, "failure", "", "ibmxforce"},
		{obj{"vt_key": "bad"}, "success", "", "virustotal"}, // as the source of release 4.0 counts
		{obj{"vt_key": "bad", "otx_key": good}, "failure", "alienvault", "virustotal"},
		{obj{"vt_key": good}, "success", "alienvault virustotal", ""},
		{obj{"vt_key": ""}, "success", "alienvault virustotal", ""},
	} {
		out := r.call("POST", path, tt.body)
		keys, _ := out["data"].(obj)
		if out["status"] != tt.status || keysOf(keys) != tt.stored && tt.stored != "" || keysOf(out["errors"].(obj)) != tt.errors {
			t.Errorf("%v: %v", tt.body, out)
		}
	}
	if got := keysOf(r.data("GET", path, nil).(obj)); got != "alienvault virustotal" {
		t.Errorf("keys of %s", got)
	}
}

func keysOf(o obj) string {
	var names []string
	for _, name := range []string{"alienvault", "ibmxforce", "virustotal"} {
		if o[name] != nil {
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}

func TestEngineRules(t *testing.T) {
	r := newRig(t, Options{})
	const path = "/management/virustotal/av_engine"
	r.code("POST", path, obj{}, http.StatusBadRequest)
	r.code("POST", path, obj{"min_match_count": 0, "av_engines": obj{}}, http.StatusBadRequest)
	r.code("POST", path, obj{"min_match_count": -1}, http.StatusBadRequest)
	r.code("POST", path, obj{"av_engines": obj{"Bkav": obj{}}}, http.StatusBadRequest)
	r.code("POST", path, obj{"av_engines": obj{"Bkav": true}}, http.StatusInternalServerError)
	if got := r.code("POST", path, obj{"av_engines": obj{"Bkav": obj{"status": true}, "Nope": obj{"status": true}}}, http.StatusOK); strings.Contains(got, "data") {
		t.Errorf("the answer has data: %s", got)
	}
	engines := r.data("GET", path, nil).(obj)["av_engines"].(obj)
	if fmt.Sprint(engines["Bkav"]) != "map[status:true]" || engines["Nope"] != nil {
		t.Errorf("engines: %v", engines)
	}
}

func TestPurgeRemovesWhatIsOld(t *testing.T) {
	r := newRig(t, Options{AggregationWindow: 24 * time.Hour})
	host := r.s.Hosts()[0].Identifier
	day := 24 * time.Hour
	now := r.clock.Now()
	old := r.s.Raise(AlertSpec{Host: host, Rule: "Run key written", CreatedAt: now.Add(-5 * day)})
	closed := r.s.Raise(AlertSpec{Host: host, Rule: "Mass file rename", CreatedAt: now.Add(-5 * day)})
	r.data("PUT", "/alerts", obj{"resolve": true, "verdict": true, "alert_ids": []int64{closed}})
	recent := r.s.Raise(AlertSpec{Host: host, Rule: "Credential dumping", CreatedAt: now.Add(-day)})
	h := r.s.hosts[0]
	h.background = append(h.background, event{at: now.Add(-4 * day)}, event{at: now.Add(-time.Hour)})
	events := len(h.background)
	r.refused("POST", "/management/manual_purge", obj{"rentention_days": 0}, "greater than 0")
	r.code("POST", "/management/manual_purge", obj{"retention_days": 3}, http.StatusBadRequest)
	if n := len(r.s.Alerts()); n != 3 {
		t.Fatalf("%d alerts after refusals", n)
	}
	r.code("POST", "/management/manual_purge", obj{"rentention_days": 3}, http.StatusOK)
	left := r.s.Alerts()
	if len(left) != 1 || left[0].ID != recent || r.s.open != 1 || h.unended != 1 || len(h.alerts) != 1 || len(r.s.created) != 1 {
		t.Errorf("left: %v, open %d, of the host %d", left, r.s.open, h.unended)
	}
	if len(h.background) >= events || h.background[len(h.background)-1].at != now.Add(-time.Hour) {
		t.Errorf("%d of %d events left", len(h.background), events)
	}
	// The purged alert absorbs nothing any more.
	if id := r.s.Raise(AlertSpec{Host: host, Rule: "Run key written", CreatedAt: now.Add(-5*day + time.Hour)}); id == old {
		t.Error("a match joined an alert that is gone")
	}
}

func TestPurgeReachesHiddenAlerts(t *testing.T) {
	r := newRig(t, Options{Hosts: 2})
	id := r.s.Raise(AlertSpec{Host: "1", CreatedAt: r.clock.Now().Add(-48 * time.Hour)})
	if out := r.call("DELETE", "/hosts/1/delete", obj{}); !strings.EqualFold(fmt.Sprint(out["status"]), "success") {
		t.Fatal(out)
	}
	if out := r.call("GET", fmt.Sprint("/alerts/", id), nil); out["status"] != "success" {
		t.Fatalf("the alert of a deleted host: %v", out)
	}
	r.code("POST", "/management/manual_purge", obj{"rentention_days": 1}, http.StatusOK)
	r.refused("GET", fmt.Sprint("/alerts/", id), nil, "No Alert present")
	counts := r.data("GET", "/dashboard", nil).(obj)["distribution_and_status"].(obj)["hosts_status_count"]
	if got := fmt.Sprint(counts); got != "map[offline:0 online:1]" {
		t.Errorf("hosts: %s", got)
	}
}

func TestServerLogs(t *testing.T) {
	r := newRig(t, Options{})
	const path = "/management/download_log"
	if got := fmt.Sprint(r.data("GET", path, nil)); got != "[log log.1]" {
		t.Errorf("files: %s", got)
	}
	r.refused("GET", path+"?server_name=DB", nil, "No such container")
	r.code("POST", path, obj{"server_name": "DB", "filename": "log"}, http.StatusBadRequest)
	r.refused("POST", path, obj{"server_name": "ER", "filename": "../etc/passwd"}, "No log file")
	r.data("PUT", "/management/log_setting", obj{"er_ui_log_level": "DEBUG"})
	w := r.send("POST", path, obj{"server_name": "ER-UI", "filename": "log"})
	if w.Header().Get("Content-Type") != typeFile || !strings.Contains(w.Body.String(), "admin updated Settings er_ui_log_level") {
		t.Errorf("log: %v %s", w.Header(), w.Body)
	}
	r.code("PUT", "/management/log_setting", obj{"er_log_level": "ERROR"}, http.StatusBadRequest)
	if got := r.data("GET", "/management/log_setting", nil).(obj)["log_level"]; got != "DEBUG" {
		t.Errorf("level %v", got)
	}
}

func TestMetrics(t *testing.T) {
	r := newRig(t, Options{})
	out := r.call("POST", "/management/metrics", obj{"from_time": "yesterday"})
	if out["status"] != "Invalid inputs" || out["message"] != "failure" {
		t.Errorf("swapped words: %v", out)
	}
	hours := func(from string) int {
		data := r.data("POST", "/management/metrics", obj{"from_time": from}).(obj)
		return len(data["POSTGRES"].([]any))
	}
	// It is 03:22 on the clock, and measurements of a day are there.
	for from, want := range map[string]int{"2026-11-22 01:30:00": 2, "2026-11-22 04:00:00": 0, "2000-01-01 00:00:00": 24} {
		if got := hours(from); got != want {
			t.Errorf("since %s: %d, want %d", from, got, want)
		}
	}
}

func TestDashboardCountsWhatIsOpen(t *testing.T) {
	r := newRig(t, Options{Hosts: 7})
	for i, h := range r.s.Hosts() {
		for range i {
			r.s.Raise(AlertSpec{Host: h.Identifier, Rule: fmt.Sprintf("Rule %d", i), Severity: "MEDIUM", Separate: true})
		}
	}
	top := func() (hosts []any, medium any) {
		alerts := r.data("GET", "/dashboard", nil).(obj)["alert_data"].(obj)
		return alerts["top_five"].(obj)["hosts"].([]any), alerts["source"].(obj)["rule"].(obj)["MEDIUM"]
	}
	hosts, medium := top()
	if len(hosts) != 5 || hosts[0].(obj)["count"] != 6. || medium != 21. {
		t.Errorf("hosts %v, medium %v", hosts, medium)
	}
	last := r.s.Alerts()[20].ID
	r.data("PUT", "/alerts", obj{"resolve": true, "verdict": false, "alert_ids": []int64{last}})
	if hosts, medium = top(); hosts[0].(obj)["count"] != 5. || medium != 20. {
		t.Errorf("after resolving: hosts %v, medium %v", hosts, medium)
	}
}

func TestDownloads(t *testing.T) {
	r := newRig(t, Options{})
	for path, start := range map[string]string{
		"/downloads/certificate.crt": "-----BEGIN CERTIFICATE", "/downloads/windows/plgx_cpt.exe": "MZ", "/downloads/linux/plgx_cpt": "\x7fELF",
		"/downloads/plgx_cpt.sh": "#!",
	} {
		w := get(r, path)
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != typeFile || !strings.HasPrefix(w.Body.String(), start) {
			t.Errorf("%s: %d %v %.20q", path, w.Code, w.Header(), w.Body)
		}
	}
	if w := get(r, "/downloads/other.exe"); w.Code != http.StatusNotFound {
		t.Errorf("a file that there is not: %d", w.Code)
	}
	old := newRig(t, Options{Profile: "2.1.2"})
	if w := get(old, "/downloads/certificate.crt"); w.Code != http.StatusOK || w.Header().Get("Content-Type") != typeHTML {
		t.Errorf("release 2.1.2 has the files elsewhere: %d %v", w.Code, w.Header())
	}
}
