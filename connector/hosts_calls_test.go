package connector

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestHostBadInput: what the server would misread or fail at is refused before
// anything is sent.
func TestHostBadInput(t *testing.T) {
	server := newServer(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%s %s was sent", r.Method, r.URL) })
	c := newClient(t, server.URL)
	ctx := t.Context()
	activity := func(ref string, q ActivityQuery) error { _, err := c.Hosts.ActivityPage(ctx, ref, q); return err }
	export := func(q ActivityExport) error { _, err := c.Hosts.ExportActivity(ctx, "1", q, io.Discard); return err }
	list := func(q HostQuery) error { _, err := c.Hosts.Page(ctx, q); return err }
	one := func(_ any, err error) error { return err }
	for _, tt := range []struct {
		name string
		err  error
		want error
		text string // part of the error
	}{
		{"platform", list(HostQuery{Platform: "solaris"}), ErrInvalid, "windows, linux, darwin"},
		{"column", list(HostQuery{Column: "name"}), ErrInvalid, "host, state, health, os, last_ip"},
		{"start", list(HostQuery{Start: -1}), ErrInvalid, "start is -1"},
		{"NUL", list(HostQuery{Search: "a\x00"}), ErrInvalid, "U+0000"},
		{"two mistakes", list(HostQuery{Platform: "x", Column: "y"}), ErrInvalid, `column "y"`},
		{"brief export", one(c.Hosts.Export(ctx, HostQuery{Brief: true}, io.Discard)), ErrInvalid, "count of alerts"},
		{"export of a platform", one(c.Hosts.Export(ctx, HostQuery{Platform: "x"}, io.Discard)), ErrInvalid, `platform "x"`},

		{"no host", activity("", ActivityQuery{Query: "q"}), ErrEmptyTarget, ""},
		{"host 0", activity("0", ActivityQuery{Query: "q"}), ErrInvalid, "0 cannot be the id"},
		{"a huge id", activity("99999999999", ActivityQuery{Query: "q"}), ErrInvalid, "cannot be the id"},
		{"no query", activity("1", ActivityQuery{}), ErrInvalid, "name of the query"},
		{"apostrophe in query", activity("1", ActivityQuery{Query: "o'brien"}), ErrInvalid, "apostrophe"},
		{"apostrophe in search", activity("1", ActivityQuery{Query: "q", Search: "it's"}), ErrInvalid, "apostrophe"},
		{"column alone", activity("1", ActivityQuery{Query: "q", Column: "pid"}), ErrInvalid, "go together"},
		{"values alone", activity("1", ActivityQuery{Query: "q", Values: []string{"1"}}), ErrInvalid, "go together"},
		{"comma in value", activity("1", ActivityQuery{Query: "q", Column: "cmdline", Values: []string{"a,b"}}), ErrInvalid, "comma"},
		{"blank value", activity("1", ActivityQuery{Query: "q", Column: "cmdline", Values: []string{" a"}}), ErrInvalid, "blanks"},
		{"negative start", activity("1", ActivityQuery{Query: "q", Start: -1}), ErrInvalid, "start is -1"},
		{"export without query", export(ActivityExport{}), ErrInvalid, "name of the query"},
		{"export by an empty group", export(ActivityExport{Query: "q", Where: &Condition{Group: "AND"}}), ErrInvalid, ""},
		{"export by another column", export(ActivityExport{Query: "q", Where: new(Where("cmdline", OpEqual, "x"))}), ErrInvalid, "process_name"},
		{"count of nobody", one(c.Hosts.ActivityCount(ctx, "")), ErrEmptyTarget, ""},
		{"config of nobody", one(c.Hosts.FullConfig(ctx, "")), ErrEmptyTarget, ""},
		{"additional config of nobody", one(c.Hosts.AdditionalConfig(ctx, "")), ErrEmptyTarget, ""},
		{"distribution of nobody", one(c.Hosts.AlertDistribution(ctx, "")), ErrInvalid, ""},
		{"logs of nobody", one(c.Hosts.StatusLogPage(ctx, "", StatusLogQuery{})), ErrEmptyTarget, ""},
		{"logs from -1", one(c.Hosts.StatusLogPage(ctx, "1", StatusLogQuery{Start: -1})), ErrInvalid, "start is -1"},
		{"export of nobody's logs", one(c.Hosts.ExportStatusLogs(ctx, "")), ErrInvalid, ""},
		{"states of nobody", one(c.Hosts.States(ctx, "1", "")), ErrEmptyTarget, ""},

		{"deactivate nobody", c.Hosts.Deactivate(ctx, ""), ErrInvalid, ""},
		{"climb", c.Hosts.Deactivate(ctx, ".."), ErrInvalid, ""},
		{"delete without consent", c.Hosts.Delete(ctx, "1", ""), ErrInvalid, `"delete for good"`},
		{"delete with another consent", c.Hosts.Delete(ctx, "1", PurgeOldData), ErrInvalid, `"delete for good"`},
		{"delete many without consent", c.Hosts.DeleteMany(ctx, []string{"1"}, ""), ErrInvalid, `"delete for good"`},
		{"delete none", c.Hosts.DeleteMany(ctx, nil, DeleteForGood), ErrEmptyTarget, ""},
		{"deactivate none", c.Hosts.DeactivateMany(ctx, []string{}), ErrEmptyTarget, ""},
		{"reactivate an empty name", c.Hosts.ReactivateMany(ctx, []string{"1", ""}), ErrEmptyTarget, ""},
		{"ids and identifiers", c.Hosts.ReactivateMany(ctx, []string{"1", "EC2"}), ErrInvalid, "name all hosts by id or all by identifier"},
		{"two in one", c.Hosts.DeactivateMany(ctx, []string{"1,2"}), ErrInvalid, "comma"},
		{"blanks around", c.Hosts.DeactivateMany(ctx, []string{"EC2 "}), ErrInvalid, "blanks"},
		{"id 0 among others", c.Hosts.DeactivateMany(ctx, []string{"1", "0"}), ErrInvalid, "0 cannot be the id"},

		{"order of tags", one(c.Tags.Page(ctx, TagQuery{Order: "up"})), ErrInvalid, "asc, desc"},
		{"start of tags", one(c.Tags.Page(ctx, TagQuery{Start: -1})), ErrInvalid, "start is -1"},
		{"tag of 64", c.Tags.Add(ctx, strings.Repeat("x", 64)), ErrInvalid, "63"},
		{"tag with a blank", c.Tags.Add(ctx, "a b"), ErrInvalid, "letters, digits"},
		{"delete a tag without consent", c.Tags.Delete(ctx, "a", ""), ErrInvalid, `"delete for good"`},
		{"delete no tag", c.Tags.Delete(ctx, "", DeleteForGood), ErrInvalid, ""},
		{"delete a list", c.Tags.Delete(ctx, "a,b", DeleteForGood), ErrInvalid, "list"},
		{"tagged by none", one(c.Tags.Tagged(ctx)), ErrEmptyTarget, ""},
		{"assign to nothing", c.Tags.Assign(ctx, "a", TagTargets{}), ErrEmptyTarget, ""},
		{"assign to no name", c.Tags.Assign(ctx, "a", TagTargets{Packs: []string{""}}), ErrInvalid, "packs"},
		{"assign a file", c.Tags.Assign(ctx, "logo.PNG", TagTargets{Packs: []string{"p"}}), ErrInvalid, "web console"},
		{"assign a dot path", c.Tags.Assign(ctx, "..", TagTargets{Packs: []string{"p"}}), ErrInvalid, ""},
	} {
		if !errors.Is(tt.err, tt.want) || !strings.Contains(fmt.Sprint(tt.err), tt.text) {
			t.Errorf("%s: got %v, want %v with %q", tt.name, tt.err, tt.want, tt.text)
		}
	}
}

// TestHostOddAnswers reads answers that are not as the guide has them.
func TestHostOddAnswers(t *testing.T) {
	for _, tt := range []struct {
		name   string
		do     func(ctx context.Context, c *Client) (any, error)
		answer string
		want   any
		err    error
	}{
		{
			"counts as text", func(ctx context.Context, c *Client) (any, error) { return c.Hosts.AlertDistribution(ctx, "1") },
			`{"status":"success","data":{"sources":{"rule":{"HIGH":"2","NEW":1,"TOTAL":"3"},"ioc":null},"rules":[{"name":"r","count":"3"},null]}}`,
			AlertDistribution{
				Sources: map[string]SourceAlerts{"rule": {Severities: map[string]int{"HIGH": 2, "NEW": 1}, Total: 3}, "ioc": {Severities: map[string]int{}}},
				Rules:   []RuleAlerts{{"r", 3}, {}},
			}, nil,
		},
		{
			"no distribution", func(ctx context.Context, c *Client) (any, error) { return c.Hosts.AlertDistribution(ctx, "1") },
			`{"status":"success","data":{}}`, nil, ErrNotFound,
		},
		{
			"config by name", func(ctx context.Context, c *Client) (any, error) { return c.Hosts.AdditionalConfig(ctx, "1") },
			`{"status":"success","data":{"queries":{"q":{"id":"7","query":"select 1","interval":"60","snapshot":"true","shard":null}},
				"packs":{"p":{"id":3,"queries":{"in":{"sql":"select 2","interval":-1}}},"bad":4},"tags":"a, b"}}`,
			AdditionalConfig{
				Queries: []HostQueryConfig{{ID: 7, Name: "q", SQL: "select 1", Interval: time.Minute, Snapshot: true}},
				Packs:   []HostPackConfig{{ID: 3, Name: "p", Queries: []HostQueryConfig{{Name: "in", SQL: "select 2"}}}},
				Tags:    []string{"a", "b"},
			}, nil,
		},
		{
			"no config", func(ctx context.Context, c *Client) (any, error) { return c.Hosts.FullConfig(ctx, "1") },
			`{"status":"success","data":null,"config":{"id":1}}`, nil, ErrNotFound,
		},
		{
			"no additional config", func(ctx context.Context, c *Client) (any, error) { return c.Hosts.AdditionalConfig(ctx, "1") },
			`{"status":"success"}`, nil, ErrNotFound,
		},
		{
			"refused", func(ctx context.Context, c *Client) (any, error) {
				return c.Hosts.StatusLogPage(ctx, "1", StatusLogQuery{})
			},
			`{"status":"failure","message":"Host identifier or node id passed is not correct!"}`, nil, ErrNotFound,
		},
		{
			"no task", func(ctx context.Context, c *Client) (any, error) { return c.Hosts.ExportStatusLogs(ctx, "1") },
			`{"status":"Success","data":{"id":1}}`, nil, ErrUncertain,
		},
		{
			"nothing tagged", func(ctx context.Context, c *Client) (any, error) { return c.Tags.Tagged(ctx, "a") },
			`{"status":"success","data":null}`, nil, ErrNotFound,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := newServer(t, func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, 200, tt.answer) })
			got, err := tt.do(t.Context(), newClient(t, server.URL))
			if !errors.Is(err, tt.err) {
				t.Fatalf("got %v, want %v", err, tt.err)
			}
			if tt.err == nil && !reflect.DeepEqual(got, tt.want) {
				t.Errorf("\n got %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

// TestHostMalformedRows: a row that cannot be read does not cost the others.
func TestHostMalformedRows(t *testing.T) {
	answers := map[string]string{
		"/api/hosts/recent_activity": `{"id":"9","timestamp":"11/22/2026 03/22/30","columns":"{\"pid\":1}"},{"id":8},7`,
		"/api/hosts/status_logs":     `{"line":"4","filename":"a.cpp","severity":null,"created":"nonsense"},{"line":1},7`,
		"/api/tags":                  `{"value":"a","nodes":null,"packs":["p"]},{"nodes":[]},7`,
	}
	server := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		rows := "[" + answers[r.URL.Path] + "]"
		if r.URL.Path == "/api/tags/tagged" {
			answerJSON(w, 200, `{"status":"success","data":{"hosts":[{"id":1},{}],"packs":[{"name":"p"},{}],"queries":7}}`)
			return
		}
		answerJSON(w, 200, `{"status":"success","data":{"count":"3","results":`+rows+`}}`)
	})
	c := newClient(t, server.URL)
	events, err := c.Hosts.ActivityPage(t.Context(), "1", ActivityQuery{Query: "q"})
	want := ActivityEvent{ID: 9, Timestamp: time.Date(2026, 11, 22, 3, 22, 30, 0, time.UTC), Columns: map[string]string{"pid": "1"}}
	if err != nil || len(events.Malformed) != 2 || len(events.Results) != 1 || !reflect.DeepEqual(events.Results[0], want) {
		t.Errorf("events %+v, %v", events, err)
	}
	logs, err := c.Hosts.StatusLogPage(t.Context(), "1", StatusLogQuery{})
	if err != nil || len(logs.Malformed) != 2 || len(logs.Results) != 1 || logs.Results[0] != (StatusLog{Line: 4, Filename: "a.cpp"}) {
		t.Errorf("logs %+v, %v", logs, err)
	}
	tags, err := c.Tags.Page(t.Context(), TagQuery{})
	if err != nil || len(tags.Malformed) != 2 || !reflect.DeepEqual(tags.Results, []Tag{{Name: "a", Packs: []string{"p"}}}) {
		t.Errorf("tags %+v, %v", tags, err)
	}
	tagged, err := c.Tags.Tagged(t.Context(), "a")
	if err != nil || len(tagged.Hosts) != 1 || len(tagged.Packs) != 1 || tagged.Queries != nil ||
		len(tagged.Malformed) != 2 || string(tagged.Malformed[1].Raw) != "{}" {
		t.Errorf("tagged %+v, %v", tagged, err)
	}
}

// TestFullConfig reads both releases: 2.x calls the schedule queries.
func TestFullConfig(t *testing.T) {
	for release, answer := range map[string]string{
		"4.0": `{"status":"success","config":{"id":3,"name":"Default"},"data":{"options":{"a":true,"b":"x"},
			"schedule":{"q":{"query":"select 1"}},"packs":[],"win_include_paths":{"all_files":["*"]},"feature_vectors":{}}}`,
		"2.1.2": `{"status":"success","data":{"options":{"a":true,"b":"x"},"queries":{"q":{"query":"select 1"}},"packs":[],
			"win_include_paths":{"all_files":["*"]},"filters":null}}`,
	} {
		server := newServer(t, func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, 200, answer) })
		config, err := newClient(t, server.URL).Hosts.FullConfig(t.Context(), "1")
		if err != nil {
			t.Fatal(release, err)
		}
		if release == "4.0" && (config.ConfigID != 3 || config.ConfigName != "Default") {
			t.Errorf("config %d %q", config.ConfigID, config.ConfigName)
		}
		if string(config.Options["a"]) != "true" || string(config.Options["b"]) != `"x"` || len(config.Schedule) != 1 || config.Schedule[0].SQL != "select 1" ||
			len(config.Other) != 1 || string(config.Other["win_include_paths"]) != `{"all_files":["*"]}` {
			t.Errorf("%s: %+v", release, config)
		}
	}
}

// TestActivityLosesItsID: a row without an id among rows with one would end the walk
// before its time.
func TestActivityLosesItsID(t *testing.T) {
	server := newServer(t, func(w http.ResponseWriter, _ *http.Request) {
		answerJSON(w, 200, `{"status":"success","data":{"results":[{"id":5,"columns":{}},{"columns":{}}]}}`)
	})
	rows := 0
	for _, err := range newClient(t, server.URL).Hosts.Activity(t.Context(), "1", ActivityQuery{Query: "q", Limit: 2}) {
		if err != nil {
			if !errors.Is(err, errNoRowID) {
				t.Error(err)
			}
			return
		}
		if rows++; rows > 2 {
			break
		}
	}
	t.Errorf("%d rows and no error", rows)
}

// TestHostRefusalsOfEffects: a refusal changed nothing, a lost answer is uncertain.
func TestHostRefusalsOfEffects(t *testing.T) {
	status := 200
	server := newServer(t, func(w http.ResponseWriter, _ *http.Request) {
		answerJSON(w, status, `{"status":"failure","message":"no"}`)
	})
	c := newClient(t, server.URL)
	calls := map[string]func() error{
		"deactivate":  func() error { return c.Hosts.Deactivate(t.Context(), "1") },
		"delete":      func() error { return c.Hosts.Delete(t.Context(), "1", DeleteForGood) },
		"delete many": func() error { return c.Hosts.DeleteMany(t.Context(), []string{"1"}, DeleteForGood) },
		"assign":      func() error { return c.Tags.Assign(t.Context(), "a", TagTargets{Hosts: []string{"H"}}) },
		"delete tag":  func() error { return c.Tags.Delete(t.Context(), "a", DeleteForGood) },
	}
	for _, want := range []struct {
		status int
		kind   error
	}{{200, ErrRefused}, {500, ErrUncertain}, {403, ErrForbidden}} {
		status = want.status
		for name, do := range calls {
			if err := do(); !errors.Is(err, want.kind) || errors.Is(err, ErrUncertain) != errors.Is(want.kind, ErrUncertain) {
				t.Errorf("%s with %d: %v", name, want.status, err)
			}
		}
	}
}
