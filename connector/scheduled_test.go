package connector

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestScheduledOdd(t *testing.T) {
	s := &script{t: t, answers: map[string]string{"POST /queries": `{"status":"success","data":{"count":"2","results":[
		{"id":"7","name":7,"query":"select 1;","interval":"60","snapshot":"true","shard":"100","tags":null,"packs":["a,b"],"platform":null},
		{"name":"no id"},{"id":8,"interval":1.5,"shard":"all","tags":"web, db","later":{"a":1}},null]}}`}}
	page, err := s.client().Queries.Page(t.Context(), ScheduledFilter{Start: 3, Search: "x"})
	if err != nil {
		t.Fatal(err)
	}
	s.last("POST /queries", `{"start":3,"limit":100,"searchterm":"x"}`)
	want := []ScheduledQuery{
		{ID: 7, Name: "7", SQL: "select 1;", Interval: time.Minute, Snapshot: true, Shard: new(100), Packs: []string{"a,b"}},
		{ID: 8, Tags: []string{"web", "db"}},
	}
	if !reflect.DeepEqual(page.Results, want) || page.Count != 2 || len(page.Malformed) != 2 {
		t.Errorf("got %+v", page)
	}
}

func TestScheduledModifyWritesAllBack(t *testing.T) {
	s := &script{t: t, answers: map[string]string{
		"GET /queries/7": `{"status":"success","data":{"id":7,"name":"n","sql":"select 1;","interval":60,"platform":null,"version":"4.0",
			"description":"d","value":"v","snapshot":false,"shard":50,"tags":["web"],"packs":["b","a"]}}`,
		"POST /queries/7": `{"status":"success","data":{"id":7}}`,
		"POST /packs":     `{"status":"success","data":{"results":[{"id":1,"name":"a"},{"name":"no id"},{"id":2,"name":"b"}]}}`,
	}}
	after, err := s.client().Queries.Modify(t.Context(), 7, always(func(q *ScheduledQuery) { q.Interval = time.Hour }))
	if err != nil || after.Interval != time.Hour || *after.Shard != 50 {
		t.Fatal(after, err)
	}
	s.last("POST /queries/7", `{"name":"n","query":"select 1;","interval":3600,"version":"4.0","description":"d","value":"v","snapshot":"false",
		"tags":"web","packs":"a,b"}`)
	for name, change := range map[string]func(*ScheduledQuery){
		"shard":        func(q *ScheduledQuery) { q.Shard = nil },
		"unknown pack": func(q *ScheduledQuery) { q.Packs = append(q.Packs, "c") },
		"comma":        func(q *ScheduledQuery) { q.Packs = []string{"a,b"} },
		"empty tag":    func(q *ScheduledQuery) { q.Tags = []string{""} },
		"platform":     func(q *ScheduledQuery) { q.Platform = "centos" },
	} {
		if _, err := s.client().Queries.Modify(t.Context(), 7, always(change)); !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrEmptyTarget) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := s.writes(); len(got) != 1 {
		t.Errorf("sent %q", got)
	}
}

func TestScheduledAdd(t *testing.T) {
	s := &script{t: t, answers: map[string]string{"POST /queries/add": `{"status":"success","query_id":"12","message":"m"}`}}
	c, q := s.client(), ScheduledQuery{Name: "n", SQL: "select 1;", Interval: time.Second, Snapshot: true, Shard: new(3), ID: 9}
	id, err := c.Queries.Add(t.Context(), q)
	if err != nil || id != 12 {
		t.Fatal(id, err)
	}
	s.last("POST /queries/add", `{"name":"n","query":"select 1;","interval":1,"snapshot":"true"}`)
	q.Packs = []string{"p"} // cannot be looked up: nothing may be sent
	if _, err = c.Queries.Add(t.Context(), q); err == nil || errors.Is(err, ErrInvalid) || errors.Is(err, ErrUncertain) {
		t.Error(err)
	}
	if got := s.writes(); len(got) != 1 {
		t.Errorf("sent %q", got)
	}
	q.Packs, s.answers["POST /queries/add"] = nil, `{"status":"success"}`
	if _, err = c.Queries.Add(t.Context(), q); !errors.Is(err, ErrUncertain) {
		t.Errorf("without id: %v", err)
	}
}

func TestScheduledRefused(t *testing.T) {
	s := &script{t: t}
	c, ctx := s.client(), t.Context()
	add := func(q ScheduledQuery) error { _, err := c.Queries.Add(ctx, q); return err }
	for _, tt := range []struct {
		name string
		err  error
		text string
	}{
		{"all at once", add(ScheduledQuery{}), "SQL is empty"},
		{"platform", add(ScheduledQuery{Name: "n", SQL: "s", Interval: time.Second, Platform: "macos"}), "all, windows, linux, darwin, freebsd, posix"},
		{"tag", add(ScheduledQuery{Name: "n", SQL: "s", Interval: time.Second, Tags: []string{"a b"}}), "tag"},
		{"update without id", c.Queries.Update(ctx, ScheduledQuery{Name: "n", SQL: "s", Interval: time.Second}), "id 0"},
		{"tag of a query", c.Queries.AddTag(ctx, 1, ""), "tag"},
		{"untag", c.Queries.RemoveTag(ctx, 0, "web"), "id 0"},
		{"delete", c.Queries.Delete(ctx, "q", PurgeOldData), "delete for good"},
		{"delete nothing", c.Queries.Delete(ctx, "", DeleteForGood), "cannot stand in a path"},
		{"delete by a name with a slash", c.Queries.Delete(ctx, "a/b", DeleteForGood), "cannot stand in a path"},
	} {
		if !errors.Is(tt.err, ErrInvalid) || !strings.Contains(tt.err.Error(), tt.text) {
			t.Errorf("%s: %v", tt.name, tt.err)
		}
	}
	if len(s.sent) != 0 {
		t.Errorf("sent %q", s.sent)
	}
}

func TestTagsMustBeAList(t *testing.T) {
	s := &script{t: t, answers: map[string]string{"GET /queries/1/tags": `{"status":"success"}`, "GET /packs/p/tags": `{"status":"success","data":{"a":1}}`}}
	if _, err := s.client().Queries.Tags(t.Context(), 1); !errors.Is(err, ErrNotJSON) {
		t.Error(err)
	}
	if _, err := s.client().Packs.Tags(t.Context(), "p"); !errors.Is(err, ErrNotJSON) {
		t.Error(err)
	}
}
