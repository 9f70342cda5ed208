package connector

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
)

// asked is what a server was asked for.
type asked struct {
	method, path, query, kind, body string
}

// recorder answers every call but login with the same, and remembers the calls.
func recorder(t *testing.T, status int, kind, answer string) (*Client, *[]asked) {
	t.Helper()
	var calls []asked
	server := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		calls = append(calls, asked{r.Method, strings.TrimPrefix(r.URL.Path, "/api"), r.URL.RawQuery, r.Header.Get("Content-Type"), string(text)})
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	})
	return newClient(t, server.URL), &calls
}

// ok is the usual success with some data.
func okWith(data string) string { return `{"status":"success","message":"m","data":` + data + `}` }

func TestAlertFilterIsSent(t *testing.T) {
	c, calls := recorder(t, http.StatusOK, "application/json", okWith(`{"count":0,"total_count":0,"results":[]}`))
	day := time.Date(2026, 3, 9, 23, 59, 0, 0, time.UTC)
	_, err := c.Alerts.Page(t.Context(), AlertQuery{
		Source: "rule,ioc", RuleID: "1, 2", Host: "H", Severity: "High,LOW", Verdict: "open", IDs: []int64{7}, Since: day.AddDate(0, 0, -1), Until: day,
		QueryName: "q", Search: "s", WithoutCounts: true, Column: "status", Desc: true, Start: 20, Limit: 5, Resolved: new(false),
	})
	if err != nil {
		t.Fatal(err)
	}
	var got any
	if err := json.Unmarshal([]byte((*calls)[0].body), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"source": "rule,ioc", "rule_id": "1, 2", "host_identifier": "H", "severity": "high,low", "verdict": "open", "event_ids": []any{7.0},
		"start_date": "2026-03-08", "end_date": "2026-03-09", "query_name": "q", "searchterm": "s", "events_count": false, "column": "status",
		"order_by": "desc", "start": 20.0, "limit": 5.0, "resolved": false,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// TestAlertCallsRefuse: nothing of this reaches the server.
func TestAlertCallsRefuse(t *testing.T) {
	c, calls := recorder(t, http.StatusOK, "application/json", okWith(`[]`))
	ctx := t.Context()
	day := time.Date(2026, 3, 9, 0, 0, 0, 0, time.UTC)
	page := func(q AlertQuery) error { _, err := c.Alerts.Page(ctx, q); return err }
	events := func(q AggregatedQuery) error { _, err := c.Alerts.AggregatedEvents(ctx, 1, q); return err }
	export := func(q AggregatedQuery) error {
		_, err := c.Alerts.ExportAggregatedEvents(ctx, 1, q, io.Discard)
		return err
	}
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"source", page(AlertQuery{Source: "rule,IOC"}), `source "IOC" is none of rule, ioc, virustotal, ibmxforce, alienvault`},
		{"severity", page(AlertQuery{Severity: "warning"}), `severity "warning" is none of info, low, medium, high, critical`},
		{"verdict", page(AlertQuery{Verdict: "TRUE POSITIVE"}), `verdict "TRUE POSITIVE" is none of true_positive, false_positive, open`},
		{"empty word", page(AlertQuery{Source: "rule,,ioc"}), "holds an empty word"},
		{"rule", page(AlertQuery{RuleID: "1,x"}), `rule id "x" is not a whole number`},
		{"column", page(AlertQuery{Column: "id"}), `column "id" is none of hostname, severity, rule, created_at, status`},
		{"start", page(AlertQuery{Start: -1}), "start is -1"},
		{"until alone", page(AlertQuery{Until: day}), "until needs since"},
		{"until before since", page(AlertQuery{Since: day, Until: day.AddDate(0, 0, -1)}), "until lies before since"},
		{"since and window", page(AlertQuery{Since: day, Window: &EventWindow{}}), "exclude each other"},
		{"span", page(AlertQuery{Window: &EventWindow{Span: 5}}), "span 5 is none of"},
		{"graph of ids", func() error { _, err := c.Alerts.Graph(ctx, AlertFilter{IDs: []int64{1}}); return err }(), "single alerts"},
		{"count of a rule", func() error { _, err := c.Alerts.CountBySource(ctx, AlertCountQuery{RuleID: -1}); return err }(), "rule id is -1"},
		{"quote", events(AggregatedQuery{QueryName: "it's"}), "holds an apostrophe"},
		{"parameter", events(AggregatedQuery{QueryName: "q", Search: "port :443"}), "a colon before a word"},
		{"parameter at the start", events(AggregatedQuery{QueryName: "q", Search: ":x"}), "a colon before a word"},
		{"column without value", events(AggregatedQuery{QueryName: "q", Column: "pid"}), "need each other"},
		{"search without query", events(AggregatedQuery{Search: "x"}), "nothing is filtered"},
		{"export without query", export(AggregatedQuery{}), "query name is missing"},
		{"export of a page", export(AggregatedQuery{QueryName: "q", Limit: 3}), "has no pages"},
	} {
		if !errors.Is(tt.err, ErrInvalid) || !strings.Contains(tt.err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, tt.err, tt.want)
		}
	}
	if len(*calls) != 0 {
		t.Errorf("sent %v", *calls)
	}
}

// TestAggregatedFiltersThatLookOdd are good: a path, a doubled colon, a time.
func TestAggregatedFiltersThatLookOdd(t *testing.T) {
	c, calls := recorder(t, http.StatusOK, "application/json", okWith(`{"results":[]}`))
	for _, text := range []string{`C:\Windows\x.exe`, "a::b", "12:30", "x:", `\:n`, `say "hi"`, "100%"} {
		if _, err := c.Alerts.AggregatedEvents(t.Context(), 1, AggregatedQuery{QueryName: "q", Search: text}); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	if len(*calls) != 7 {
		t.Errorf("%d calls", len(*calls))
	}
}

func TestAlertCountAnswers(t *testing.T) {
	for _, tt := range []struct {
		name, answer string
		want         []SourceCount
		err          error
	}{
		{"numbers as text, a new source", okWith(`{"alert_source":[{"name":"rule","count":"3"},{"name":"sandbox","count":1}]}`), []SourceCount{{"rule", 3}, {"sandbox", 1}}, nil},
		{"a row without a number", okWith(`{"alert_source":[{"name":"rule","count":3},{"name":"ioc"}]}`), []SourceCount{{"rule", 3}}, &MalformedError{}},
		{"no list", okWith(`{}`), nil, ErrNotJSON},
		{"null", okWith(`null`), nil, ErrNotJSON},
		{"refused", `{"status":"failure","message":"No data present"}`, nil, ErrRefused},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, _ := recorder(t, http.StatusOK, "application/json", tt.answer)
			got, err := c.Alerts.CountBySource(t.Context(), AlertCountQuery{})
			_, malformed := errors.AsType[*MalformedError](err)
			_, wantMalformed := errors.AsType[*MalformedError](tt.err)
			if malformed != wantMalformed || !wantMalformed && !errors.Is(err, tt.err) || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func TestAlertGraphAnswers(t *testing.T) {
	c, _ := recorder(t, http.StatusOK, "application/json", okWith(`[
		{"start":1643387866275.613,"content":"","event_id":1017,"className":"green-m"},
		{"start":"1643387866000.0","event_id":"5","className":"purple"},
		{"start":1e300,"event_id":6}, {"start":"NaN","event_id":7}, {"start":null,"event_id":8},
		{"start":1,"content":"no id"}, 3]`))
	got, err := c.Alerts.Graph(t.Context(), AlertFilter{})
	if _, malformed := errors.AsType[*MalformedError](err); !malformed {
		t.Errorf("error %v", err)
	}
	want := []AlertPoint{
		{ID: 1017, At: time.Date(2022, 1, 28, 16, 37, 46, 275613000, time.UTC), Class: "green-m"},
		{ID: 5, At: time.Date(2022, 1, 28, 16, 37, 46, 0, time.UTC), Class: "purple"},
		{ID: 6}, {ID: 7}, {ID: 8},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// TestAlertExport: what is not CSV is an error and writes nothing; a file that ends
// early is an error.
func TestAlertExport(t *testing.T) {
	const table = "query_name,rule\r\nq,\"{'id': 1, 'name': 'it, \"\"quoted\"\"'}\"\r\n"
	for _, tt := range []struct {
		name, kind, answer string
		status             int
		want               error
	}{
		{"a table", "text/csv; charset=utf-8", table, 200, nil},
		{"no rows", "application/json", `{"status":"failure","message":"Data couldn't find for the alert source given!"}`, 200, ErrRefused},
		{"success without a file", "application/json", okWith(`null`), 200, ErrNotJSON},
		{"the console", "text/html", htmlPage, 200, ErrNotJSON},
		{"source is missing", "application/json", `{"errors":{"source":"Missing required parameter"},"message":"Input payload validation failed"}`, 400, ErrRefused},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, calls := recorder(t, tt.status, tt.kind, tt.answer)
			var out bytes.Buffer
			n, err := c.Alerts.Export(t.Context(), AlertFilter{Search: "s"}, &out)
			if !errors.Is(err, tt.want) || n != int64(out.Len()) || (err == nil) != (out.String() == tt.answer) {
				t.Errorf("got %d bytes %q, %v", n, out.String(), err)
			}
			if got := (*calls)[0]; got.method+got.path+got.body != `POST/alerts/alert_source/export{"search":"s"}` {
				t.Errorf("asked %+v", got)
			}
		})
	}
}

func TestAlertExportCutShort(t *testing.T) {
	server := newServer(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/csv")
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "half")
		panic(http.ErrAbortHandler)
	})
	var out bytes.Buffer
	if _, err := newClient(t, server.URL).Alerts.Export(t.Context(), AlertFilter{}, &out); err == nil || errors.Is(err, ErrRefused) {
		t.Errorf("got %v", err)
	}
}

func TestEventExportAsks(t *testing.T) {
	c, calls := recorder(t, http.StatusOK, "text/csv", "\r\n")
	q := AggregatedQuery{QueryName: "win process", Column: "pid", Value: "1,2", Search: "ü"}
	if n, err := c.Alerts.ExportAggregatedEvents(t.Context(), 12, q, io.Discard); err != nil || n != 2 {
		t.Errorf("got %d, %v", n, err)
	}
	want := "/alerts/12/alerted_events/export column_name=pid&column_value=1%2C2&query_name=win+process&searchterm=%C3%BC"
	if got := (*calls)[0].path + " " + (*calls)[0].query; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

// TestUnknownHostIsNotAllHosts: the server would count, and before release 4.0 export,
// the alerts of all hosts.
func TestUnknownHostIsNotAllHosts(t *testing.T) {
	server := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/hosts/nosuch" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		answerJSON(w, http.StatusOK, `{"status":"failure","message":"Node with this identifier does not exist"}`)
	})
	c := newClient(t, server.URL)
	_, err1 := c.Alerts.CountBySource(t.Context(), AlertCountQuery{Host: "nosuch"})
	_, err2 := c.Alerts.Export(t.Context(), AlertFilter{Host: "nosuch, other"}, io.Discard)
	for _, err := range []error{err1, err2} {
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("got %v", err)
		}
	}
}

func TestAlertStateAnswers(t *testing.T) {
	c, calls := recorder(t, http.StatusOK, "application/json", okWith(`[{"query_name":"patches","count":"29"},{"count":3}]`))
	got, err := c.Alerts.State(t.Context(), 5)
	if _, malformed := errors.AsType[*MalformedError](err); !malformed || !reflect.DeepEqual(got, []StateCount{{"patches", 29}}) {
		t.Errorf("got %v, %v", got, err)
	}
	if path := (*calls)[0].path; path != "/alerts/5/state" {
		t.Errorf("asked for %s", path)
	}
	c, _ = recorder(t, http.StatusOK, "application/json", `{"status":"failure","message":"no"}`)
	if _, err := c.Alerts.State(t.Context(), 5); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown alert: %v", err)
	}
}
