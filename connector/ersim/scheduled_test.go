package ersim

import (
	"maps"
	"net/http"
	"strings"
	"testing"
)

func TestScheduledRules(t *testing.T) {
	good := func(change obj) obj {
		body := obj{"name": "mine", "query": "select * from users;", "interval": 60}
		maps.Copy(body, change)
		return body
	}
	for _, tt := range []struct {
		name, profile string
		path          string
		change        obj
		want          string
	}{
		{"good", "4.0", "/queries/add", nil, "success"},
		{"taken", "4.0", "/queries/add", obj{"name": "uptime"}, "200 Query with this name already exists"},
		{"blank name", "4.0", "/queries/add", obj{"name": " "}, `400 {"message":"Please provide valid name!"}`},
		{"empty SQL", "4.0", "/queries/add", obj{"query": ""}, `400 {"message":"Please provide valid SQL!"}`},
		{"join of known tables", "4.0", "/queries/add", obj{"query": "select u.username from users u join logged_in_users l on l.user = u.username;"}, "success"},
		{"join of an unknown table", "4.0", "/queries/add", obj{"query": "select 1 from users join nosuch;"}, `200 Invalid osquery query: "select 1 from users join nosuch;"`},
		{"no interval", "4.0", "/queries/add", obj{"interval": 0}, "200 Interval provided is not valid! Please provide an interval greater than 0"},
		{"snapshot", "4.0", "/queries/add", obj{"snapshot": "yes"}, `400 {"message":{"snapshot":"snapshot('true'/'false')"}}`},
		{"two mistakes", "4.0", "/queries/add", obj{"platform": "plan9", "interval": "x"},
			`400 {"message":{"interval":"interval of the query","platform":"platform(all/windows/linux/darwin/freebsd/posix)"}}`},
		{"unknown pack", "4.0", "/queries/add", obj{"packs": "nosuch"}, "success"},
		{"update", "4.0", "/queries/1", nil, "success"},
		{"update without interval", "4.0", "/queries/1", obj{"interval": -5}, "success"},
		{"update unknown", "4.0", "/queries/99", nil, "200 " + noQuery},
		{"update with wrong SQL", "4.0", "/queries/1", obj{"query": "select * frm x"}, "200 Query is not a valid SQL!"},
		{"update to a name of the pack", "4.0", "/queries/1", obj{"name": "kernel_info"}, "200 Query with this name already exists"},
		{"update to a name of another pack", "4.0", "/queries/1", obj{"name": "arp"}, "success"},
		{"blank name on 2.1.2", "2.1.2", "/queries/add", obj{"name": " "}, "success"},
		{"update to a taken name on 2.1.2", "2.1.2", "/queries/1", obj{"name": "kernel_info"}, "success"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := newRig(t, Options{Profile: tt.profile}).refusal("POST", tt.path, good(tt.change)); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// TestScheduledUpdateReplaces: what is left out is gone, and snapshot true.
func TestScheduledUpdateReplaces(t *testing.T) {
	r := newRig(t, Options{})
	r.data("POST", "/queries/1/tags", obj{"tag": "web"})
	answer := r.data("POST", "/queries/1", obj{"name": "n", "query": "select 1;", "interval": 5}).(obj)
	if got := keys(answer); got != "description id interval name platform shard snapshot sql value version" {
		t.Error(got)
	}
	q := r.data("GET", "/queries/1", nil).(obj)
	if got := string(encodeJSON(q)); got != `{"description":null,"id":1,"interval":5,"name":"n","packs":[],"platform":"all","shard":null,"snapshot":true,`+
		`"sql":"select 1;","tags":[],"value":null,"version":null}` {
		t.Error(got)
	}
	if tags := r.data("GET", "/tags", nil).(obj)["results"].([]any); len(tags) == 0 {
		t.Error("the tag is not among the tags")
	}
}

// TestRelease2Gone: release 4.0 answers HTTP 410 with JSON, and asks for a token before.
func TestRelease2Gone(t *testing.T) {
	r := newRig(t, Options{})
	r.login("analyst")
	for _, call := range [][2]string{{"GET", "/options"}, {"POST", "/options/add"}, {"POST", "/queryresult/delete"}, {"GET", "/configs/all"},
		{"POST", "/configs/view"}, {"POST", "/configs/update"}, {"PUT", "/configs/toggle"}} {
		w := r.send(call[0], call[1], obj{})
		if w.Code != http.StatusGone || w.Header().Get("Content-Type") != typeJSON || !strings.HasPrefix(w.Body.String(), `{"message":"This api has been removed`) {
			t.Errorf("%v: %d %s", call, w.Code, w.Body)
		}
	}
	r.token = "none"
	if w := r.send("GET", "/options", nil); w.Code != http.StatusUnauthorized {
		t.Errorf("without token: %d", w.Code)
	}
}

// TestRelease2Traps plays what release 2.1.2 does to those who do not know it.
func TestRelease2Traps(t *testing.T) {
	r := newRig(t, Options{Profile: "2.1.2"})
	if out := r.call("POST", "/configs/view", obj{"platform": "windows"}); out["message"] != noOldConfig {
		t.Errorf("view without arch: %v", out)
	}
	r.data("PUT", "/configs/toggle", obj{"platform": "linux", "arch": "x86_64", "type": "deep"})
	if out := r.call("POST", "/configs/view", obj{"platform": "linux", "arch": "x86_64"}); out["message"] != noOldConfig {
		t.Errorf("after a toggle to what is not there: %v", out)
	}
	// The type default is the config in use, here the deep one.
	r.data("PUT", "/configs/toggle", obj{"platform": "windows", "arch": "x86_64", "type": "deep"})
	r.data("POST", "/configs/update", obj{"platform": "windows", "arch": "x86", "type": "default", "filters": obj{"a": 1}, "queries": obj{}})
	all := r.data("GET", "/configs/all", nil).(obj)["windows"].(obj)
	if got := keys(all["x86"].(obj)["0"].(obj)["filters"]) + " " + keys(all["x86_64"]); got != "a 1 2" {
		t.Error(got)
	}
	if got := r.refusal("POST", "/configs/update", obj{"platform": "windows", "filters": obj{}, "queries": obj{"q": obj{}}}); got != `400 {"message":"`+badConfigQueries+`"}` {
		t.Error(got)
	}
	r.data("POST", "/options/add", obj{"option": obj{"only": 1}})
	if got := keys(r.data("GET", "/options", nil)); got != "only" {
		t.Error(got)
	}
	if got := r.refusal("POST", "/queryresult/delete", obj{"days_of_data": -1}); got != "200 days of data should be a positive number!" {
		t.Error(got)
	}
	r.s.hosts[0].background = []event{{id: 1, at: r.clock.Now().AddDate(0, 0, -8)}, {id: 2, at: r.clock.Now().AddDate(0, 0, -6)}}
	r.data("POST", "/queryresult/delete", obj{"days_of_data": 7})
	if left := r.s.hosts[0].background; len(left) != 1 || left[0].id != 2 {
		t.Errorf("left of the results: %v", left)
	}
	if w := r.send("GET", "/configs", nil); w.Code != http.StatusNotFound || w.Header().Get("Content-Type") != typeHTML {
		t.Errorf("a call of release 3.5: %d", w.Code)
	}
}
