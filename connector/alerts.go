package connector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"time"
)

// AlertsService is the section "Alerts" of the REST guide.
type AlertsService struct{ c *Client }

// Alert is an alert as the server tells it. The list and the detail call tell
// different things; what a call does not tell has its zero value.
type Alert struct {
	ID           int64
	QueryName    string
	NodeID       int64
	Hostname     string
	Platform     string // detail only
	Severity     string // the server's word; empty for null
	Type         string // rule or Threat Intel
	Source       string // rule, ioc, virustotal, ...
	Status       string // OPEN, RESOLVED; empty for null, which means open
	Verdict      string // the server's word or number; see Normalize
	Comment      string
	UpdatedBy    string // detail only
	ResultLogUID string // list only
	RuleID       int64  // 0 for alerts without a rule
	RuleName     string
	CreatedAt    time.Time // zero if it cannot be read
	UpdatedAt    time.Time // zero before release 4.0
	// EventCount is the number of aggregated events; nil where the call does not
	// tell it. Servers before 4.0 count the first event too.
	EventCount *int
	// Columns are those of the event that raised the alert, all text.
	Columns map[string]string
	// Intel is the feed's answer for threat-intelligence alerts; nil if none.
	Intel json.RawMessage
}

// readAlert reads an alert in list or detail shape.
func readAlert(v value) Alert {
	a := Alert{
		ID:           v.at("id").id(),
		QueryName:    v.at("query_name").text(),
		NodeID:       v.at("node_id").id(),
		Hostname:     v.at("hostname").text(),
		Platform:     v.at("platform").text(),
		Severity:     v.at("severity").text(),
		Type:         v.at("type").text(),
		Source:       v.at("source").text(),
		Status:       v.at("status").text(),
		Verdict:      v.at("verdict").text(),
		Comment:      v.at("comment").text(),
		UpdatedBy:    v.at("updated_by").text(),
		ResultLogUID: v.at("result_log_uid").text(),
		RuleID:       v.at("rule").at("id").id(),
		RuleName:     v.at("rule").at("name").text(),
		CreatedAt:    v.at("created_at").time(),
		UpdatedAt:    v.at("updated_at").time(),
		Columns:      v.at("alerted_entry", "message").columns(), // list, detail
		Intel:        v.at("intel_data", "source_data").raw(),    // list, detail
	}
	if a.RuleID == 0 {
		a.RuleID = v.at("rule_id").id()
	}
	if n, ok := v.at("aggregated_events_count").integer(); ok {
		a.EventCount = new(int(n))
	}
	return a
}

func alertRow(v value) (Alert, error) {
	a := readAlert(v)
	return a, needID(v, a.ID, "alert")
}

// AlertQuery filters the alert list. Empty fields filter nothing.
type AlertQuery struct {
	// Resolved chooses the resolved alerts or the open ones. nil leaves it to the
	// server: release 4.0 gives both, earlier ones the open.
	Resolved *bool
	// Source, RuleID, Host (identifier), Severity and Verdict are comma lists in
	// release 4.0, single values before. The server refuses unknown hosts, rules
	// and query names.
	Source, RuleID, Host, Severity, Verdict string
	QueryName                               string
	Search                                  string // host name, rule name, severity
	IDs                                     []int64
	// Since and Until are whole UTC days, both included; Until needs Since. Releases
	// before 4.0 ignore them, and so does every release for resolved alerts.
	Since, Until time.Time
	// Window bounds the days for all releases; nil for none. It excludes Since, and
	// it too is ignored for resolved alerts.
	Window *EventWindow
	// WithoutCounts leaves EventCount out, which spares release 4.0 some work.
	WithoutCounts bool
	// Column is hostname, severity, rule, created_at or status; rule drops alerts
	// without a rule. Without it the newest come first.
	Column string
	Desc   bool
	// Start is an offset, Limit a page size; default 100.
	Start, Limit int
}

// Page fetches one page of alerts, newest first unless the query says otherwise.
// Rows without an id are in Page.Malformed. An answer without a list is ErrNotJSON.
// API: POST /alerts (REST guide 4.0.0, "Get alerts").
func (s *AlertsService) Page(ctx context.Context, q AlertQuery) (page Page[Alert], err error) {
	const what = "list alerts"
	in := map[string]any{}
	filter := AlertFilter{
		Source: q.Source, RuleID: q.RuleID, Host: q.Host, Severity: q.Severity, Verdict: q.Verdict, IDs: q.IDs,
		Since: q.Since, Until: q.Until, Window: q.Window,
	}
	err = errors.Join(
		paging(in, what, q.Start, q.Limit),
		s.write(filter, in, what),
		inSet(what, "column", q.Column, "hostname", "severity", "rule", "created_at", "status"),
	)
	if err != nil {
		return page, err
	}
	if q.Resolved != nil {
		in["resolved"] = *q.Resolved
	}
	set(in, "query_name", q.QueryName)
	set(in, "searchterm", q.Search)
	if q.WithoutCounts {
		in["events_count"] = false
	}
	order(in, q.Column, q.Desc)
	return paged(ctx, s.c, callAlertsList, in, alertRow)
}

func pageSize(limit int) int {
	if limit <= 0 {
		return defaultPageSize
	}
	return limit
}

func set(in map[string]any, key, value string) {
	if value != "" {
		in[key] = value
	}
}

// order asks for a sorting: the server wants both or none.
func order(in map[string]any, column string, desc bool) {
	if column == "" {
		return
	}
	in["column"], in["order_by"] = column, "asc"
	if desc {
		in["order_by"] = "desc"
	}
}

// List walks through all alerts from q.Start on, q.Limit at a time. An alert that
// turns up on two pages, because new ones came meanwhile, is given once.
func (s *AlertsService) List(ctx context.Context, q AlertQuery) iter.Seq2[Alert, error] {
	return listFrom(ctx, &q.Start, &q.Limit, func(ctx context.Context) (Page[Alert], error) {
		return s.Page(ctx, q)
	}, func(a *Alert) string { return idKey(a.ID) })
}

// Get fetches one alert. It has the platform, which the list lacks, and neither
// event count nor result id, which only the list has. ErrNotFound if there is none.
// API: GET /alerts/{alert_id} (REST guide 4.0.0, "Get an alert").
func (s *AlertsService) Get(ctx context.Context, id int64) (a Alert, err error) {
	k, err := callAlertsGet.with(strconv.FormatInt(id, 10))
	if err != nil {
		return Alert{}, err
	}
	err = s.c.do(ctx, k, nil, data(func(v value) { a = readAlert(v) }))
	if err == nil && a.CreatedAt.IsZero() && a.Columns == nil && a.Source == "" {
		err = missing(k)
	}
	if err != nil {
		return Alert{}, err
	}
	a.ID = id // the answer does not repeat it
	return a, nil
}

// missing is a success without the object that was asked for.
func missing(k call) error {
	return &APIError{Method: k.method, Path: k.path, Status: 200, Message: "the answer is empty", kinds: []error{ErrNotFound}}
}

// Resolve closes alerts with a verdict, true for a true positive. The server
// answers success for ids that it does not know: read the alerts to be sure.
// API: PUT /alerts (REST guide 4.0.0, "Resolve or unresolve alerts").
func (s *AlertsService) Resolve(ctx context.Context, ids []int64, verdict bool, comment string) error {
	if len(ids) == 0 {
		return fmt.Errorf("resolve alerts: %w", ErrEmptyTarget)
	}
	in := map[string]any{"resolve": true, "alert_ids": ids, "verdict": verdict}
	set(in, "comment", comment)
	return s.c.do(ctx, callAlertsUpdate, in, nil)
}

// Reopen opens resolved alerts again and wipes verdict and comment. It needs the
// admin role in release 4.0.
// API: PUT /alerts (REST guide 4.0.0, "Resolve or unresolve alerts").
func (s *AlertsService) Reopen(ctx context.Context, ids []int64) error {
	if len(ids) == 0 {
		return fmt.Errorf("reopen alerts: %w", ErrEmptyTarget)
	}
	return s.c.do(ctx, callAlertsUpdate, map[string]any{"resolve": false, "alert_ids": ids}, nil)
}
