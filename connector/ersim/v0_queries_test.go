package ersim

import (
	"bytes"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"testing"
)

// v0Upload sends a file beside other fields.
func (r *rig) v0Upload(path, name, content string, fields map[string]string) *httptest.ResponseRecorder {
	r.t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	for field, value := range fields {
		if err := form.WriteField(field, value); err != nil {
			r.t.Fatal(err)
		}
	}
	part, err := form.CreateFormFile("file", name)
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := part.Write([]byte(content)); err != nil {
		r.t.Fatal(err)
	}
	if err := form.Close(); err != nil {
		r.t.Fatal(err)
	}
	req := httptest.NewRequestWithContext(r.t.Context(), "POST", r.s.profile.base0+path, &body)
	req.Header.Set("Content-Type", form.FormDataContentType())
	req.Header.Set("x-access-token", r.token)
	w := httptest.NewRecorder()
	r.s.ServeHTTP(w, req)
	return w
}

func TestV0Queries(t *testing.T) {
	bothProfiles(t, func(t *testing.T, r *rig) {
		before := len(r.v0Data("GET", "/queries/", nil).([]any))
		input := obj{"name": "shells", "query": "select * from processes;", "interval": 60, "tags": "a,b", "platform": "windows", "snapshot": true}
		out := r.v0("POST", "/queries/add", input)
		if keys(out) != "message query_id status" {
			t.Fatal(out)
		}
		path := fmt.Sprint("/queries/", out["query_id"])
		r.v0Fails("POST", "/queries/add", input)
		r.v0Fails("POST", "/queries/add", obj{"name": "other", "query": "select nonsense", "interval": 60})
		if rows := r.v0Data("GET", "/queries/", nil).([]any); len(rows) != before+1 {
			t.Errorf("%d queries, there were %d", len(rows), before)
		}

		r.v0Data("POST", path, obj{"name": "renamed", "query": "select pid from processes;", "interval": "30"})
		got := r.v0Data("GET", path, nil).(obj)
		want, sql := "description id interval name packs platform shard snapshot sql tags value version", "sql"
		if r.s.older() {
			want, sql = "description id interval name platform query removed shard tags value version", "query"
		}
		if keys(got) != want || got["name"] != "renamed" || got[sql] != "select pid from processes;" || got["interval"] != 30.0 || got["platform"] != "windows" {
			t.Errorf("%s: %v", keys(got), got)
		}
		r.v0Data("POST", "/queries/tag/edit", obj{"query_id": out["query_id"], "add_tags": "c", "remove_tags": "a"})
		r.v0Data("POST", path+"/tags", obj{"tags": "d"})
		if tags := fmt.Sprint(r.v0Data("GET", path+"/tags", nil)); tags != "[b c d]" {
			t.Error(tags)
		}
		if !r.s.older() {
			if v1 := r.data("GET", path, nil).(obj); v1["sql"] != got["sql"] || fmt.Sprint(v1["tags"]) != "[b c d]" {
				t.Errorf("through v1: %v", v1)
			}
		}
		for _, row := range r.v0Data("GET", "/queries/packs", nil).([]any) {
			if packs, ok := row.(obj)["packs"].([]any); !ok || len(packs) == 0 {
				t.Fatalf("a packed query without packs: %v", row)
			}
		}
		r.v0Fails("GET", "/queries/9999", nil)
		r.v0Fails("GET", "/queries/99999999999999999999", nil)
		r.v0Fails("POST", "/queries/9999", obj{"name": "a", "query": "select pid from processes;", "interval": 1})
		r.v0Fails("POST", path, obj{"name": "a", "query": "select nonsense", "interval": 1})
		r.v0Fails("GET", "/queries/9999/tags", nil)
		r.v0Fails("POST", "/queries/9999/tags", obj{"tags": "a"})
		r.v0Fails("POST", "/queries/tag/edit", obj{"query_id": 9999, "add_tags": "a", "remove_tags": ""})
	})
}

func TestV0Packs(t *testing.T) {
	bothProfiles(t, func(t *testing.T, r *rig) {
		query := obj{"query": "select * from processes;", "interval": 5, "platform": "windows", "description": "Processes"}
		out := r.v0("POST", "/packs/add", obj{"name": "my_pack", "queries": obj{"running": query}, "tags": "finance,sales", "shard": 50})
		if keys(out) != "message pack_id status" {
			t.Fatal(out)
		}
		got := r.v0Data("GET", fmt.Sprint("/packs/", out["pack_id"]), nil).(obj)
		want := "description id name platform queries shard tags version"
		if r.s.older() {
			want = "discovery id name platform queries shard tags version"
			if below(got, "queries", "running", "query") != query["query"] {
				t.Error(got["queries"])
			}
		} else if fmt.Sprint(got["queries"]) != "[running]" {
			t.Error(got["queries"])
		}
		if keys(got) != want || fmt.Sprint(got["tags"]) != "[finance sales]" || got["shard"] != 50.0 {
			t.Errorf("%s: %v", keys(got), got)
		}
		r.v0Data("POST", "/packs/tag/edit", obj{"pack_id": out["pack_id"], "add_tags": "new", "remove_tags": "sales"})
		r.v0Data("POST", "/packs/my_pack/tags", obj{"tags": "last"})
		if tags := fmt.Sprint(r.v0Data("GET", "/packs/my_pack/tags", nil)); tags != "[finance new last]" {
			t.Error(tags)
		}
		w := r.v0Upload("/packs/upload", "Uploaded.conf", `{"queries": {"users": {"query": "select * from users;", "interval": 60}}, "tags": "up"}`, nil)
		if up := r.object(w); w.Code != http.StatusOK || up["status"] != "success" || up["pack_id"] == nil {
			t.Errorf("%d %v", w.Code, up)
		}
		found := false
		for _, row := range r.v0Data("GET", "/packs/", nil).([]any) {
			found = found || row.(obj)["name"] == "uploaded"
		}
		if !found {
			t.Error("the uploaded pack is not listed")
		}
		r.v0Fails("GET", "/packs/9999", nil)
		r.v0Fails("GET", "/packs/nosuch/tags", nil)
		r.v0Fails("POST", "/packs/nosuch/tags", obj{"tags": "a"})
		r.v0Fails("POST", "/packs/tag/edit", obj{"pack_id": 9999, "add_tags": "a", "remove_tags": ""})
	})
}

func TestV0Tags(t *testing.T) {
	bothProfiles(t, func(t *testing.T, r *rig) {
		r.v0Data("POST", "/tags/add", obj{"tags": "first tag,second"})
		rows := r.v0Data("GET", "/tags/", nil).([]any)
		if last := rows[len(rows)-1]; r.s.older() && last != "second" ||
			!r.s.older() && (keys(last) != "file_paths nodes packs queries value" || last.(obj)["value"] != "second") {
			t.Error(rows)
		}
		if !r.s.older() {
			if all := fmt.Sprint(r.data("GET", "/tags", nil)); !bytes.Contains([]byte(all), []byte("first tag")) {
				t.Errorf("through v1: %s", all)
			}
		}
	})
}
