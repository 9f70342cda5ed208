package ersim

import (
	"bytes"
	"encoding/json"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestPackShapes(t *testing.T) {
	for _, profile := range []string{"4.0", "2.1.2"} {
		r := newRig(t, Options{Profile: profile})
		page := r.data("POST", "/packs", obj{}).(obj)
		if got := keys(page); got != "count results total_count" {
			t.Error(got)
		}
		rows := r.results("/packs", obj{"limit": 2})
		want := "2 1" // by name
		if profile == "2.1.2" {
			want = "3 2" // newest first
		}
		if got := ids(rows); got != want {
			t.Errorf("%s: %s", profile, got)
		}
		if got := keys(rows[0]); got != "category description id name platform queries shard tags version" {
			t.Error(got)
		}
		query := rows[0]["queries"].([]any)[0].(obj)
		if got := keys(query); got != "description id interval name packs platform shard snapshot sql tags value version" {
			t.Error(got)
		}
		one := r.data("GET", "/packs/1", nil).(obj)
		if _, isName := one["queries"].([]any)[0].(string); !isName {
			t.Errorf("the detail has %v", one["queries"])
		}
		if w := r.send("GET", "/packs/it-compliance", nil); w.Code != http.StatusNotFound || w.Header().Get("Content-Type") != typeHTML {
			t.Errorf("detail by name: %d", w.Code)
		}
		if w := r.send("POST", "/packs", obj{"start": -1}); w.Code != http.StatusInternalServerError {
			t.Errorf("negative start: %d", w.Code)
		}
	}
}

// TestPackUpdate: a pack of the same name is changed, its queries are not.
func TestPackUpdate(t *testing.T) {
	r := newRig(t, Options{})
	add := func(body obj) obj {
		t.Helper()
		out := r.call("POST", "/packs/add", body)
		if out["status"] != "success" || out["data"] != nil || out["pack_id"] != json.Number("4") && out["pack_id"] != 4.0 {
			t.Fatalf("%v", out)
		}
		return r.data("GET", "/packs/4", nil).(obj)
	}
	p := add(obj{"name": " mine ", "category": "Others", "version": "1", "tags": "a, b", "queries": obj{
		"good": obj{"query": "select * from users;", "tags": "x"}, "bad": obj{"query": "select * frm users"}}})
	if got := string(encodeJSON([]any{p["name"], p["category"], p["version"], p["tags"], p["queries"]})); got != `["mine","Others","1",["a","b"],["good"]]` {
		t.Error(got)
	}
	p = add(obj{"name": "mine", "queries": obj{"good": obj{"query": "select pid from processes;"}, "new": obj{"query": "select 1;", "interval": "7"}}})
	if got := string(encodeJSON([]any{p["category"], p["version"], p["tags"], p["queries"]})); got != `["General",null,["a","b"],["good","new"]]` {
		t.Error(got)
	}
	for _, row := range r.results("/queries", obj{"searchterm": "good"}) {
		if row["sql"] != "select * from users;" || row["platform"] != "all" || row["interval"] != 3600.0 {
			t.Errorf("%v", row)
		}
		if tags := row["tags"].([]any); len(tags) != 0 {
			t.Errorf("tags of a query in a pack are not read: %v", tags)
		}
	}
	if got := r.refusal("POST", "/packs/add", obj{"name": "x", "tags": "", "queries": obj{}}); !strings.HasPrefix(got, "200 ") {
		t.Errorf("empty tags: %s", got)
	}
}

// TestPackAddBreaksOnRelease2 follows the public source of that release.
func TestPackAddBreaksOnRelease2(t *testing.T) {
	r := newRig(t, Options{Profile: "2.1.2"})
	if w := r.send("POST", "/packs/add", obj{"name": "a", "queries": obj{}}); w.Code != http.StatusInternalServerError {
		t.Errorf("without tags: %d", w.Code)
	}
	if w := r.send("POST", "/packs/add", obj{"name": "b", "tags": "", "queries": obj{"q": obj{"query": "select * from nosuch;"}}}); w.Code != http.StatusInternalServerError {
		t.Errorf("wrong SQL: %d", w.Code)
	}
	if got := ids(r.results("/packs", obj{})); got != "4 3 2 1" { // b is there, a is not
		t.Error(got)
	}
	// An equal query of that name is shared.
	out := r.call("POST", "/packs/add", obj{"name": "c", "tags": "", "queries": obj{"os_version": obj{"query": "select * from os_version;"}}})
	if out["status"] != "success" {
		t.Fatal(out)
	}
	if rows := r.results("/queries", obj{"searchterm": "os_version"}); len(rows) != 1 || len(rows[0]["packs"].([]any)) != 2 {
		t.Errorf("%v", rows)
	}
}

func (r *rig) upload(name, content string, fields map[string]string) *httptest.ResponseRecorder {
	r.t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for key, value := range fields {
		if err := w.WriteField(key, value); err != nil {
			r.t.Fatal(err)
		}
	}
	if name != "" {
		part, err := w.CreateFormFile("file", name)
		if err != nil {
			r.t.Fatal(err)
		}
		if _, err := part.Write([]byte(content)); err != nil {
			r.t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		r.t.Fatal(err)
	}
	req := httptest.NewRequestWithContext(r.t.Context(), "POST", r.s.BasePath()+"/packs/upload", &b)
	req.Header.Set("Content-Type", w.FormDataContentType())
	req.Header.Set("x-access-token", r.token)
	out := httptest.NewRecorder()
	r.s.ServeHTTP(out, req)
	return out
}

func TestPackUploadRules(t *testing.T) {
	r := newRig(t, Options{})
	good := `{"queries": {"q": {"query": "select 1;", "platform": "Linux"}}}`
	for _, tt := range []struct {
		file, content, category string
		status                  int
		want                    string
	}{
		{"My.Pack.conf", good, "Others", 200, `"pack_id":4`},
		{"my.json", good, "", 200, "updated"},
		{"", "", "", 400, "packs file"},
		{"p.json", good, "others", 400, "pack category"},
		{"p.json", "not JSON", "", 200, badPackFile},
		{"p.json", `{"queries": {"q": {}}}`, "", 200, badPackFile},
		{"p.json", `{}`, "", 200, "Queries are compulsory!"},
		{"p.json", `{"queries": {"q": {"query": "select 1;", "platform": "plan9"}}}`, "", 200, "Invalid platform"},
		{".json", good, "", 200, "Please upload pack file with name"},
	} {
		fields := map[string]string{}
		if tt.category != "" {
			fields["category"] = tt.category
		}
		w := r.upload(tt.file, tt.content, fields)
		if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.want) {
			t.Errorf("%s %s: %d %s, want %d %s", tt.file, tt.content, w.Code, w.Body, tt.status, tt.want)
		}
	}
	if p := r.data("GET", "/packs/4", nil).(obj); p["name"] != "my" || p["category"] != "General" {
		t.Errorf("%v", p)
	}
}
