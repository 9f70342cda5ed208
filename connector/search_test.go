package connector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// answers starts a server with a fixed answer for each path below /api; a function
// gets the request's body.
func answers(t *testing.T, byPath map[string]any) *Client {
	t.Helper()
	server := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		path := strings.TrimPrefix(r.URL.Path, "/api")
		switch answer := byPath[path].(type) {
		case string:
			answerJSON(w, http.StatusOK, answer)
		case func(body string) string:
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			answerJSON(w, http.StatusOK, answer(string(body)))
		default:
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(http.StatusNotFound)
		}
	})
	return newClient(t, server.URL)
}

const hostAnswer = `{"status":"success","data":{"id":1,"host_identifier":"H1"}}`

func dataAnswer(data string) string { return `{"status":"success","message":"m","data":` + data + `}` }

func TestSearchCountsOddAnswers(t *testing.T) {
	for _, tt := range []struct {
		name, answer string
		want         int
		is           error
	}{
		{"empty object", dataAnswer(`{}`), 0, nil},
		{"no data", `{"status":"success"}`, 0, nil},
		{"null", dataAnswer(`null`), 0, nil},
		{"empty list", dataAnswer(`[]`), 0, nil},
		{"text count", dataAnswer(`[{"hostname":"h","host_identifier":"H","queries":[{"query_name":"q","count":"3"}]}]`), 1, nil},
		{"a row without identifier", dataAnswer(`[{"hostname":"h"},{"host_identifier":"H","queries":null}]`), 1, &MalformedError{}},
		{"a query without name", dataAnswer(`[{"host_identifier":"H","queries":[{"count":1}]}]`), 0, &MalformedError{}},
		{"a text", dataAnswer(`"nothing"`), 0, ErrNotJSON},
		{"an object of something", dataAnswer(`{"count":1}`), 0, ErrNotJSON},
		{"refused", `{"status":"failure","message":"Unsupported operator"}`, 0, ErrRefused},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := answers(t, map[string]any{"/search": tt.answer})
			got, err := c.Search.Counts(t.Context(), Where("md5", OpEqual, "x"))
			_, malformed := errors.AsType[*MalformedError](err)
			if _, want := errors.AsType[*MalformedError](tt.is); want != malformed || !want && !errors.Is(err, tt.is) || len(got) != tt.want {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func TestActivityRefusesRowsOfOtherHosts(t *testing.T) {
	row := `{"count":1,"results":[{"id":7,"name":"q","columns":{"md5":"x"},"host_identifier":"%s"}]}`
	for other, want := range map[string]error{"H1": nil, "H2": ErrNotJSON} {
		c := answers(t, map[string]any{
			"/hosts/1": hostAnswer, "/index": `{"sso_status":false}`, "/activity/search": dataAnswer(fmt.Sprintf(row, other)),
		})
		for _, err := range c.Search.Activity(t.Context(), ActivitySearch{Condition: Where("md5", OpEqual, "x"), Host: "1"}) {
			if !errors.Is(err, want) {
				t.Errorf("rows of %s: %v", other, err)
			}
		}
	}
}

// Release 2.1.2 pages by offset, later ones by id.
func TestActivityPages(t *testing.T) {
	const total = 5
	serve := func(byID bool) func(string) string {
		return func(body string) string {
			var in struct{ Start, Limit int64 }
			if err := json.Unmarshal([]byte(body), &in); err != nil {
				return err.Error()
			}
			var rows []string
			for i := range int64(total) {
				id := 100 - i
				if (byID && (in.Start == 0 || id < in.Start) || !byID && i >= in.Start) && int64(len(rows)) < in.Limit {
					rows = append(rows, fmt.Sprintf(`{"id":%d,"columns":{"n":"%d"}}`, id, id))
				}
			}
			return dataAnswer(`{"count":5,"results":[` + strings.Join(rows, ",") + `]}`)
		}
	}
	for _, byID := range []bool{true, false} {
		paths := map[string]any{"/activity/search": serve(byID)}
		if byID {
			paths["/index"] = `{"sso_status":false}`
		}
		var got []string
		c := answers(t, paths)
		for row, err := range c.Search.Activity(t.Context(), ActivitySearch{Condition: Where("md5", OpEqual, "x"), Limit: 2}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, row.Columns["n"])
		}
		if strings.Join(got, " ") != "100 99 98 97 96" {
			t.Errorf("by id %v: %v", byID, got)
		}
	}
}

func TestWalkColumnsOfAServerWithoutStart(t *testing.T) {
	c := answers(t, map[string]any{"/hosts/1": hostAnswer, "/search": dataAnswer(`{"count":2,"results":[{"a":1},{"a":"2"}]}`)})
	n := 0
	for row, err := range c.Search.Rows(t.Context(), SearchQuery{Condition: Where("a", OpEqual, "x"), Host: "1", Query: "q", Limit: 2}) {
		if err != nil || row["a"] == "" {
			t.Fatal(row, err)
		}
		n++
	}
	if n != 2 {
		t.Errorf("%d rows", n)
	}
}

func TestSearchBadInput(t *testing.T) {
	c := answers(t, nil) // nothing may be asked for
	good := Where("md5", OpEqual, "x")
	file := IndicatorFile("aa")
	first := func(rows func(func(map[string]string, error) bool)) (err error) {
		rows(func(_ map[string]string, e error) bool {
			err = e
			return false
		})
		return err
	}
	firstEvent := func(rows func(func(ResultRow, error) bool)) (err error) {
		rows(func(_ ResultRow, e error) bool {
			err = e
			return false
		})
		return err
	}
	ctx := t.Context()
	now := time.Now()
	for _, tt := range []struct {
		name string
		err  error
		is   error
		text string
	}{
		{"no query", first(c.Search.Rows(ctx, SearchQuery{Condition: good, Host: "1"})), ErrInvalid, "name of a query"},
		{"no host", first(c.Search.Rows(ctx, SearchQuery{Condition: good, Query: "q"})), ErrEmptyTarget, ""},
		{"column", firstEvent(c.Search.Activity(ctx, ActivitySearch{Condition: Where("cmdline", OpEqual, "x")})), ErrInvalid, "cmdline"},
		{"both ends", firstEvent(c.Search.Activity(ctx, ActivitySearch{Condition: good, Window: EventWindow{From: now, Until: now}})), ErrInvalid, "either"},
		{"span", firstEvent(c.Search.Activity(ctx, ActivitySearch{Condition: good, Window: EventWindow{Span: 9}})), ErrInvalid, "span 9"},
		{"type", first(c.Hunt.UploadRows(ctx, HuntQuery{Type: "sha1", File: file, Host: "1", Query: "q"})), ErrInvalid, "none of md5"},
		{"list", second(c.Hunt.Indicators(ctx, "md5")), ErrInvalid, "no indicators"},
		{"comma", second(c.Hunt.Indicators(ctx, "md5", "a,b")), ErrInvalid, `"a,b"`},
		{"kind", second(c.Hunt.Indicators(ctx, "sha1", "a")), ErrInvalid, "none of md5"},
		{"empty file", second(c.Hunt.Upload(ctx, "md5", IndicatorFile(" ", ""))), ErrInvalid, "no indicators"},
		{"not UTF-8", second(c.Hunt.Upload(ctx, "md5", Upload{Name: "x", Content: []byte("\xff")})), ErrInvalid, "UTF-8"},
		{"export of a host", second(c.Hunt.ExportEvents(ctx, EventHunt{Type: "md5", File: file, Host: "1"}, io.Discard)), ErrInvalid, "all hosts"},
		{"export without a query", second(c.Search.ExportQuery(ctx, "1", "", io.Discard)), ErrInvalid, "name"},
	} {
		if !errors.Is(tt.err, tt.is) || !strings.Contains(tt.err.Error(), tt.text) {
			t.Errorf("%s: %v", tt.name, tt.err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestEventWindow(t *testing.T) {
	now := time.Date(2026, 11, 22, 23, 30, 0, 0, time.UTC)
	east := time.FixedZone("east", 5*3600)
	for _, tt := range []struct {
		name string
		w    EventWindow
		want string // duration type date
	}{
		{"default", EventWindow{}, "3 2 2026-11-22"},
		{"last day", EventWindow{Until: time.Date(2026, 2, 1, 12, 0, 0, 0, time.UTC), Span: SpanDay}, "2 2 2026-02-01"},
		// The server would leave the day itself out.
		{"first day", EventWindow{From: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Span: SpanMonth}, "4 1 2026-02-28"},
		{"in UTC", EventWindow{Until: time.Date(2026, 2, 1, 1, 0, 0, 0, east), Span: SpanHour}, "1 2 2026-01-31"},
	} {
		got, err := tt.w.arguments(now)
		if text := got["duration"] + " " + got["type"] + " " + got["date"]; err != nil || text != tt.want {
			t.Errorf("%s: got %q, %v; want %q", tt.name, text, err, tt.want)
		}
	}
}

func TestIndicatorFileIsCleaned(t *testing.T) {
	body := make(chan string, 1)
	c := answers(t, map[string]any{"/hunt-upload": func(text string) string { body <- text; return dataAnswer(`[]`) }})
	file := Upload{Name: "i.txt", Content: []byte("\ufeffaa\r\n\r\n  bb \n\n")}
	if _, err := c.Hunt.Upload(t.Context(), "md5", file); err != nil {
		t.Fatal(err)
	}
	if text := <-body; !strings.Contains(text, "\r\n\r\naa\nbb\r\n--") {
		t.Errorf("sent %q", text)
	}
}

func TestSchemaReadsBothForms(t *testing.T) {
	const statement = "CREATE TABLE `weird` (\n \"pid\" BIGINT, path TEXT HIDDEN, size DECIMAL(10,2), flag, PRIMARY KEY (pid, path)) WITHOUT ROWID"
	for _, answer := range []string{dataAnswer(jsonText(t, statement)), dataAnswer(`{"weird":` + jsonText(t, statement) + `}`)} {
		c := answers(t, map[string]any{"/schema/weird": answer})
		table, err := c.Schema.Table(t.Context(), "weird")
		if err != nil {
			t.Fatal(err)
		}
		want := []SchemaColumn{{Name: "pid", Type: "BIGINT"}, {Name: "path", Type: "TEXT"}, {Name: "size", Type: "DECIMAL(10,2)"}, {Name: "flag"}}
		if fmt.Sprint(table.Columns) != fmt.Sprint(want) || table.SQL != statement {
			t.Errorf("got %+v", table)
		}
	}
	for _, odd := range []string{"", "DROP TABLE x", "CREATE TABLE x", "CREATE TABLE x (a TEXT", "CREATE TABLE x (,)"} {
		if columns := parseCreateTable(odd); columns != nil {
			t.Errorf("%q has columns %v", odd, columns)
		}
	}
	c := answers(t, map[string]any{"/schema/x": dataAnswer(`{"y":"CREATE TABLE y (a TEXT)"}`), "/schema": dataAnswer(`"x"`)})
	if _, err := c.Schema.Table(t.Context(), "x"); !errors.Is(err, ErrNotFound) {
		t.Errorf("another table: %v", err)
	}
	if _, err := c.Schema.Tables(t.Context()); !errors.Is(err, ErrNotJSON) {
		t.Errorf("text in place of tables: %v", err)
	}
	if _, err := c.Schema.SQL(t.Context()); !errors.Is(err, ErrNotJSON) {
		t.Errorf("text in place of statements: %v", err)
	}
	if _, err := c.Schema.Table(t.Context(), ".."); !errors.Is(err, ErrInvalid) {
		t.Errorf("path: %v", err)
	}
}

func jsonText(t *testing.T, text string) string {
	t.Helper()
	out, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestYARABadInput(t *testing.T) {
	c := answers(t, nil)
	rules := []byte("rule x {}")
	ctx := t.Context()
	for name, err := range map[string]error{
		"suffix":      c.YARA.Add(ctx, Upload{Name: "a.txt", Content: rules}, "linux"),
		"path":        c.YARA.Add(ctx, Upload{Name: "../a.yar", Content: rules}, "linux"),
		"only suffix": c.YARA.Add(ctx, Upload{Name: ".yar", Content: rules}, "linux"),
		"empty":       c.YARA.Add(ctx, Upload{Name: "a.yar"}, "linux"),
		"platform":    c.YARA.Add(ctx, Upload{Name: "a.yar", Content: rules}, "Linux"),
		"no platform": c.YARA.Update(ctx, "a.yar"),
		"consent":     c.YARA.Delete(ctx, "a.yar", "", "linux"),
		"other word":  c.YARA.Delete(ctx, "a.yar", ReplaceEverything, "linux"),
		"view":        second(c.YARA.View(ctx, "list.json")),
	} {
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSearchStopsWithTheContext(t *testing.T) {
	c := answers(t, map[string]any{"/hosts/1": hostAnswer})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range c.Search.Rows(ctx, SearchQuery{Condition: Where("a", OpEqual, "x"), Host: "1", Query: "q"}) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}
}
