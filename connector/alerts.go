package connector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"strings"
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
	switch {
	case !v.isObject():
		return a, errNotObject
	case a.ID == 0:
		return a, errors.New("alert without id")
	}
	return a, nil
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
	// Since and Until are whole UTC days; Until counts only with Since. Releases
	// before 4.0 ignore them, and so does every release for resolved alerts.
	Since, Until time.Time
	// Column is hostname, severity, rule, created_at or status; rule drops alerts
	// without a rule. Without it the newest come first.
	Column string
	Desc   bool
	// Start is an offset, Limit a page size; default 100.
	Start, Limit int
}

// Page fetches one page of alerts, newest first unless the query says otherwise.
// Rows without an id are in Page.Malformed.
// API: POST /alerts (REST guide 4.0.0, "Get alerts").
func (s *AlertsService) Page(ctx context.Context, q AlertQuery) (page Page[Alert], err error) {
	in := map[string]any{
		"start": q.Start,
		"limit": pageSize(q.Limit),
	}
	if q.Resolved != nil {
		in["resolved"] = *q.Resolved
	}
	set(in, "source", q.Source)
	set(in, "rule_id", q.RuleID)
	set(in, "host_identifier", q.Host)
	set(in, "severity", strings.ToLower(q.Severity)) // upper case is refused
	set(in, "verdict", q.Verdict)
	set(in, "query_name", q.QueryName)
	set(in, "searchterm", q.Search)
	if len(q.IDs) > 0 {
		in["event_ids"] = q.IDs // they are alert ids, in spite of the name
	}
	if !q.Since.IsZero() {
		in["start_date"] = q.Since.UTC().Format(time.DateOnly)
		if !q.Until.IsZero() {
			in["end_date"] = q.Until.UTC().Format(time.DateOnly)
		}
	}
	order(in, q.Column, q.Desc)
	err = s.c.do(ctx, callAlertsList, in, data(func(v value) { page = rows(v, alertRow) }))
	return page, err
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
	first := q.Start
	return list(ctx, q.Limit, func(ctx context.Context, start, limit int) (Page[Alert], error) {
		q.Start, q.Limit = first+start, limit
		return s.Page(ctx, q)
	}, func(a *Alert) string { return strconv.FormatInt(a.ID, 10) })
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

// AggregatedQuery chooses among the events of an alert.
type AggregatedQuery struct {
	// QueryName chooses rows; without it release 4.0 answers counts per query.
	QueryName string
	// Column and Value choose rows by a column; Value is a comma list.
	Column, Value string
	Search        string
	Start, Limit  int
}

// AggregatedEvent is an event that joined an alert, or a count of them.
type AggregatedEvent struct {
	ID        int64
	QueryName string
	// Count is set, and the rest is not, when no query name was asked for.
	Count     int
	Action    string
	Timestamp time.Time
	ResultUID string
	Columns   map[string]string
}

func eventRow(v value) (AggregatedEvent, error) {
	e := AggregatedEvent{
		ID:        v.at("id").id(),
		QueryName: v.at("query_name", "name").text(),
		Count:     v.at("count").count(),
		Action:    v.at("action").text(),
		Timestamp: v.at("timestamp").time(),
		ResultUID: v.at("uuid", "result_log_uuid").text(),
		Columns:   v.at("columns").columns(),
	}
	if !v.isObject() {
		return e, errNotObject
	}
	return e, nil
}

// AggregatedEvents fetches the events that joined an alert. In release 4.0 the
// event that raised it is not among them. Release 2.1.2 has the call as GET, of
// all events at once; the client copes.
//
// The server pastes the filters into SQL. Ones with an apostrophe are ErrInvalid.
//
// API: POST /alerts/{alert_id}/alerted_events (REST guide 4.0.0, "Get aggregated
// events"); GET observed on release 2.1.2.
func (s *AlertsService) AggregatedEvents(ctx context.Context, id int64, q AggregatedQuery) (page Page[AggregatedEvent], err error) {
	for _, text := range []string{q.QueryName, q.Column, q.Value, q.Search} {
		if strings.ContainsAny(text, "'\x00") {
			return page, fmt.Errorf("aggregated events: %w: filter %q holds an apostrophe", ErrInvalid, clip(text, 128))
		}
	}
	in := map[string]any{"start": q.Start, "limit": pageSize(q.Limit)}
	set(in, "query_name", q.QueryName)
	set(in, "column_name", q.Column)
	set(in, "column_value", q.Value)
	set(in, "searchterm", q.Search)
	read := data(func(v value) { page = rows(v, eventRow) })

	text := strconv.FormatInt(id, 10)
	k, err := callAlertsAlertedEvents.with(text)
	if err != nil {
		return page, err
	}
	err = s.c.do(ctx, k, in, read)
	if refusal, ok := errors.AsType[*APIError](err); !ok || refusal.Status != 405 {
		return page, err
	}
	k.method = http.MethodGet // release 2.x
	return page, s.c.do(ctx, k, nil, read)
}

// RelatedEvents is what happened on the host within 30 seconds of an alert.
type RelatedEvents struct {
	// Queries are the rows of scheduled queries, by query.
	Queries []QueryRows
	// States names the queries that describe the system's state.
	States []string
}

// QueryRows are rows of one query.
type QueryRows struct {
	Name string
	Rows []map[string]string
}

// RelatedEvents fetches the events around an alert. Enterprise only.
// API: GET /alerts/{alert_id}/events (REST guide 4.0.0, "Get events of an alert").
func (s *AlertsService) RelatedEvents(ctx context.Context, id int64) (related RelatedEvents, err error) {
	k, err := callAlertsEvents.with(strconv.FormatInt(id, 10))
	if err != nil {
		return related, err
	}
	err = s.c.do(ctx, k, nil, data(func(v value) {
		for query := range v.at("schedule_query_data_list_obj").items() {
			related.Queries = append(related.Queries, QueryRows{Name: query.at("name").text(), Rows: columnRows(query.at("data"))})
		}
		related.States = v.at("system_state_data_list").texts()
	}))
	return related, err
}

// columnRows reads an array of rows; what is not an object is left out.
func columnRows(v value) (list []map[string]string) {
	for row := range v.items() {
		if columns := row.columns(); columns != nil {
			list = append(list, columns)
		}
	}
	return list
}

// ProcessQuery names a process of an alert.
type ProcessQuery struct {
	GUID    string // process_guid
	NodeID  int64
	AlertID string // may be empty
}

// ProcessTree is a process with what it did. Windows hosts only.
type ProcessTree struct {
	Name     string
	Path     string
	NodeType string
	Data     map[string]string
	Groups   []ProcessGroup
}

// ProcessGroup are the events of one action of a process.
type ProcessGroup struct {
	Action   string
	Name     string
	NodeType string
	GUID     string
	Count    int
	Fetched  bool
	LastTime time.Time
	Children []ProcessEvent
}

// ProcessEvent is one thing that a process did.
type ProcessEvent struct {
	Name     string
	HasChild bool
	Data     map[string]string
}

// ProcessTree fetches the process tree of an alert. Enterprise only.
// API: POST /alerts/process (REST guide 4.0.0, "Get process tree").
func (s *AlertsService) ProcessTree(ctx context.Context, q ProcessQuery) (tree ProcessTree, err error) {
	if q.GUID == "" || q.NodeID == 0 {
		return tree, fmt.Errorf("process tree: %w: process GUID and node id are needed", ErrInvalid)
	}
	in := map[string]any{"process_guid": q.GUID, "node_id": q.NodeID}
	set(in, "alert_id", q.AlertID)
	err = s.c.do(ctx, callAlertsProcess, in, data(func(v value) {
		tree = ProcessTree{
			Name:     v.at("name").text(),
			Path:     v.at("path").text(),
			NodeType: v.at("node_type").text(),
			Data:     v.at("data").columns(),
		}
		for group := range v.at("all_children").items() {
			tree.Groups = append(tree.Groups, processGroup(group))
		}
	}))
	return tree, err
}

func processGroup(v value) ProcessGroup {
	g := ProcessGroup{
		Action:   v.at("action").text(),
		Name:     v.at("name").text(),
		NodeType: v.at("node_type").text(),
		GUID:     v.at("process_guid").text(),
		Count:    v.at("count").count(),
		Fetched:  v.at("fetched").truth(),
		LastTime: v.at("last_time").time(),
		Children: processEvents(v.at("children")),
	}
	// Both hold the same rows; the second is complete where they differ.
	if all := processEvents(v.at("all_children")); len(all) > len(g.Children) {
		g.Children = all
	}
	return g
}

func processEvents(v value) (list []ProcessEvent) {
	for event := range v.items() {
		if event.isObject() {
			list = append(list, ProcessEvent{
				Name:     event.at("name").text(),
				HasChild: event.at("has_child").truth(),
				Data:     event.at("data").columns(),
			})
		}
	}
	return list
}

// ChildQuery asks for the events of one action of a process.
type ChildQuery struct {
	GUID   string
	Action string // PROC_CREATE, FILE_WRITE, ...
	NodeID int64
	// After pages forward: the LastTime of the answer before. Zero for the first.
	After time.Time
}

// ProcessChildren are events of one action of a process.
type ProcessChildren struct {
	Events   []ProcessEvent
	LastTime time.Time // zero when there is no more
}

// ProcessChildren fetches the events of one action of a process, oldest first, 20
// at a time. Enterprise only.
// API: POST /alerts/process/child (REST guide 4.0.0, "Get child processes").
func (s *AlertsService) ProcessChildren(ctx context.Context, q ChildQuery) (children ProcessChildren, err error) {
	if q.GUID == "" || q.NodeID == 0 || q.Action == "" {
		return children, fmt.Errorf("process children: %w: process GUID, action and node id are needed", ErrInvalid)
	}
	in := map[string]any{"process_guid": q.GUID, "action": q.Action, "node_id": q.NodeID}
	if !q.After.IsZero() {
		in["last_time"] = q.After.Unix()
	}
	err = s.c.do(ctx, callAlertsProcessChild, in, data(func(v value) {
		children = ProcessChildren{Events: processEvents(v.at("child_data")), LastTime: v.at("last_time").time()}
	}))
	return children, err
}

// Note is an analyst's note on an alert.
type Note struct {
	ID                   int64
	Text                 string
	User                 string
	UserID               int64
	CreatedAt, UpdatedAt time.Time
}

// Notes fetches the notes on an alert, newest first. Enterprise only. An answer
// without a list is ErrNotJSON. With a note that cannot be read, the error is a
// *MalformedError, and the others are returned all the same.
// API: GET /alerts/{alert_id}/analyst/notes (REST guide 4.0.0, "Get analyst notes").
func (s *AlertsService) Notes(ctx context.Context, id int64) (notes []Note, err error) {
	k, err := callAlertsNotesList.with(strconv.FormatInt(id, 10))
	if err != nil {
		return nil, err
	}
	var page Page[Note]
	err = s.c.do(ctx, k, nil, data(func(v value) { page = rows(v, noteRow) }))
	switch {
	case err != nil:
		return nil, err
	case page.Results == nil:
		return nil, &APIError{Method: k.method, Path: k.path, Status: 200, Message: "the answer has no list", kinds: []error{ErrNotJSON}}
	case len(page.Malformed) > 0:
		err = fmt.Errorf("%s %s: %w", k.method, k.path, page.Malformed[0])
	}
	return slices.Clip(page.Results), err
}

func noteRow(v value) (Note, error) {
	n := Note{
		ID:        v.at("id").id(),
		Text:      v.at("notes").text(),
		User:      v.at("user").text(),
		UserID:    v.at("user_id").id(),
		CreatedAt: v.at("created_at").time(),
		UpdatedAt: v.at("updated_at").time(),
	}
	switch {
	case !v.isObject():
		return n, errNotObject
	case n.ID == 0:
		return n, errors.New("note without id")
	case !v.has("notes"):
		return n, errors.New("note without text")
	}
	return n, nil
}

// AddNote writes a note on an alert and returns its id, 0 if the server does not
// tell it. Enterprise only.
// API: POST /alerts/{alert_id}/analyst/notes (REST guide 4.0.0, "Add analyst note").
func (s *AlertsService) AddNote(ctx context.Context, id int64, text string) (noteID int64, err error) {
	if text == "" {
		return 0, fmt.Errorf("add note: %w: the note is empty", ErrInvalid)
	}
	k, err := callAlertsNotesAdd.with(strconv.FormatInt(id, 10))
	if err != nil {
		return 0, err
	}
	err = s.c.do(ctx, k, map[string]any{"notes": text}, data(func(v value) {
		for key, id := range v.fields() {
			if strings.EqualFold(key, "Analyst_note_id") { // the spelling is the server's
				noteID = id.id()
			}
		}
	}))
	return noteID, err
}

// UpdateNote rewrites a note. Only its author may. Enterprise only.
// API: PUT /alerts/{alert_id}/analyst/notes (REST guide 4.0.0, "Update analyst note").
func (s *AlertsService) UpdateNote(ctx context.Context, id, noteID int64, text string) error {
	if text == "" {
		return fmt.Errorf("update note: %w: the note is empty", ErrInvalid)
	}
	k, err := callAlertsNotesUpdate.with(strconv.FormatInt(id, 10))
	if err != nil {
		return err
	}
	return s.c.do(ctx, k, map[string]any{"notes": text, "note_id": noteID}, nil)
}

// DeleteNote removes a note. Enterprise only.
// API: DELETE /alerts/{alert_id}/analyst/notes (REST guide 4.0.0, "Delete analyst note").
func (s *AlertsService) DeleteNote(ctx context.Context, id, noteID int64) error {
	k, err := callAlertsNotesDelete.with(strconv.FormatInt(id, 10))
	if err != nil {
		return err
	}
	return s.c.do(ctx, k, map[string]any{"note_id": noteID}, nil)
}
