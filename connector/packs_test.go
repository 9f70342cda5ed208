package connector

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestPacksOdd(t *testing.T) {
	s := &script{t: t, answers: map[string]string{
		"POST /packs": `{"status":"success","data":{"results":[{"id":"1","name":"p","shard":"10","tags":["a"],"category":null,
			"queries":[{"id":5,"name":"q","sql":"select 1;"},"bare",null,7]},{"name":"no id"}]}}`,
		"GET /packs/1": `{"status":"success","data":{"name":"p"}}`,
	}}
	page, err := s.client().Packs.Page(t.Context(), PackQuery{})
	if err != nil {
		t.Fatal(err)
	}
	want := []Pack{{ID: 1, Name: "p", Shard: new(10), Tags: []string{"a"}, Queries: []ScheduledQuery{{ID: 5, Name: "q", SQL: "select 1;"}}, Names: []string{"q", "bare", "7"}}}
	if !reflect.DeepEqual(page.Results, want) || len(page.Malformed) != 1 {
		t.Errorf("got %+v", page)
	}
	if _, err := s.client().Packs.Get(t.Context(), 1); !errors.Is(err, ErrNotFound) { // an answer without id
		t.Error(err)
	}
}

// TestPacksAddCannotBeConfirmed: the id is told, and that the rest is uncertain.
func TestPacksAddCannotBeConfirmed(t *testing.T) {
	s := &script{t: t, answers: map[string]string{"POST /packs/add": `{"status":"success","pack_id":3}`}}
	pack := NewPack{Name: "p", Tags: []string{"web"}, Queries: []ScheduledQuery{{Name: "q", SQL: "select 1;", Interval: time.Second, Shard: new(5)}}}
	a, err := s.client().Packs.Add(t.Context(), pack)
	if !errors.Is(err, ErrUncertain) || a.ID != 3 {
		t.Error(a, err)
	}
	if got := s.sent[0]; got != `POST /packs/add {"name":"p","queries":{"q":{"interval":1,"query":"select 1;","shard":5,"snapshot":false}},"tags":"web"}` {
		t.Errorf("sent %s", got)
	}
	s.answers["POST /packs/add"] = `{"status":"success"}`
	if a, err = s.client().Packs.Add(t.Context(), pack); !errors.Is(err, ErrUncertain) || a.ID != 0 {
		t.Error(a, err)
	}
}

// TestPacksAddWithoutTags: release 2.1.2 needs the key, release 4.0 refuses it empty.
func TestPacksAddWithoutTags(t *testing.T) {
	for _, tt := range []struct {
		base  string // which proxies may change
		since bool   // release 3.5
		want  string
	}{
		{"/services/api/v1", false, `{"name":"p","queries":{},"tags":""}`},
		{"/esp-ui/services/api/v1", true, `{"name":"p","queries":{}}`},
		{"/er/api/v1", true, `{"name":"p","queries":{}}`},
		{"/esp-ui/old", false, `{"name":"p","queries":{},"tags":""}`},
	} {
		var got atomic.Value
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case strings.HasSuffix(r.URL.Path, "/login"):
				answerJSON(w, http.StatusOK, `{"token":"t"}`)
			case strings.HasSuffix(r.URL.Path, "/index") && tt.since:
				answerJSON(w, http.StatusOK, `{"sso_status":"false"}`)
			case strings.HasSuffix(r.URL.Path, "/index"):
				http.NotFound(w, r)
			case strings.HasSuffix(r.URL.Path, "/packs/add"):
				body, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				got.Store(string(body))
				answerJSON(w, http.StatusOK, `{"status":"failure","message":"seen"}`)
			}
		}))
		t.Cleanup(server.Close)
		c := newClient(t, server.URL, func(o *Options) { o.BasePath = tt.base })
		if _, err := c.Packs.Add(t.Context(), NewPack{Name: "p"}); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", tt.base, err)
		}
		if text, _ := got.Load().(string); canonical(t, text) != tt.want {
			t.Errorf("%s: sent %s, want %s", tt.base, text, tt.want)
		}
	}
}

func TestPacksRefused(t *testing.T) {
	s := &script{t: t}
	c, ctx := s.client(), t.Context()
	upload := func(name, content, category string) error {
		_, err := c.Packs.Upload(ctx, Upload{Name: name, Content: []byte(content)}, category)
		return err
	}
	for _, tt := range []struct {
		name string
		err  error
		text string
	}{
		{"category", upload("p.json", `{"queries":{}}`, "general"), "Intrusion Detection, Monitoring"},
		{"not JSON", upload("p.json", `{"queries":{}} // all`, ""), "not JSON"},
		{"array of queries", upload("p.json", `{"queries":[]}`, ""), "no queries"},
		{"no name", upload(".conf", `{"queries":{}}`, ""), "without a name"},
		{"too large", upload("p.json", `{"queries":{}, "x": "`+strings.Repeat("x", maxUploadBytes)+`"}`, ""), "at most"},
		{"delete", c.Packs.Delete(ctx, "1", ReplaceEverything), "delete for good"},
		{"climbing out", c.Packs.Delete(ctx, "..", DeleteForGood), "cannot stand in a path"},
		{"tag", c.Packs.AddTag(ctx, "1", "a,b"), "tag"},
		{"negative start", func() error { _, err := c.Packs.Page(ctx, PackQuery{Start: -1}); return err }(), "start"},
	} {
		if !errors.Is(tt.err, ErrInvalid) || !strings.Contains(tt.err.Error(), tt.text) {
			t.Errorf("%s: %v", tt.name, tt.err)
		}
	}
	if len(s.sent) != 0 {
		t.Errorf("sent %q", s.sent)
	}
}
