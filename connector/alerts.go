package connector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
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

// decodeAlert reads an alert in list or detail shape.
func decodeAlert(d *decoder, a *Alert) bool {
	return d.object(func(key string) {
		switch key {
		case "id":
			a.ID = d.id()
		case "query_name":
			a.QueryName = d.word()
		case "node_id":
			a.NodeID = d.id()
		case "hostname":
			a.Hostname = d.word()
		case "platform":
			a.Platform = d.word()
		case "severity":
			a.Severity = d.word()
		case "type":
			a.Type = d.word()
		case "source":
			a.Source = d.word()
		case "status":
			a.Status = d.word()
		case "verdict":
			a.Verdict = d.word()
		case "comment":
			a.Comment = d.text()
		case "updated_by":
			a.UpdatedBy = d.text()
		case "result_log_uid":
			a.ResultLogUID = d.text()
		case "rule_id":
			if id := d.id(); id != 0 {
				a.RuleID = id
			}
		case "rule":
			d.object(func(key string) {
				switch key {
				case "id":
					a.RuleID = d.id()
				case "name":
					a.RuleName = d.word()
				default:
					d.skip()
				}
			})
		case "created_at":
			a.CreatedAt = d.time()
		case "updated_at":
			a.UpdatedAt = d.time()
		case "aggregated_events_count":
			if n, ok := d.integer(); ok {
				a.EventCount = new(int(n))
			}
		case "alerted_entry", "message": // list, detail
			a.Columns = d.columns()
		case "intel_data", "source_data": // list, detail
			if intel := d.raw(); !emptyRaw(intel) {
				a.Intel = intel
			}
		default:
			d.skip()
		}
	})
}

func alertRow(d *decoder, a *Alert) error {
	switch {
	case !decodeAlert(d, a):
		return errNotObject
	case a.ID == 0:
		return errors.New("alert without id")
	}
	return nil
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
	err = s.c.do(ctx, alertsList, in, data(func(d *decoder) { page = rows(d, alertRow) }))
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
	k, err := alertsGet.with(strconv.FormatInt(id, 10))
	if err != nil {
		return Alert{}, err
	}
	found := false
	err = s.c.do(ctx, k, nil, data(func(d *decoder) { found = decodeAlert(d, &a) }))
	if err == nil && (!found || a.CreatedAt.IsZero() && a.Columns == nil && a.Source == "") {
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
	return s.c.do(ctx, alertsUpdate, in, nil)
}

// Reopen opens resolved alerts again and wipes verdict and comment. It needs the
// admin role in release 4.0.
// API: PUT /alerts (REST guide 4.0.0, "Resolve or unresolve alerts").
func (s *AlertsService) Reopen(ctx context.Context, ids []int64) error {
	if len(ids) == 0 {
		return fmt.Errorf("reopen alerts: %w", ErrEmptyTarget)
	}
	return s.c.do(ctx, alertsUpdate, map[string]any{"resolve": false, "alert_ids": ids}, nil)
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

func eventRow(d *decoder, e *AggregatedEvent) error {
	ok := d.object(func(key string) {
		switch key {
		case "id":
			e.ID = d.id()
		case "query_name", "name":
			e.QueryName = d.word()
		case "count":
			e.Count = d.count()
		case "action":
			e.Action = d.word()
		case "timestamp":
			e.Timestamp = d.time()
		case "uuid", "result_log_uuid":
			e.ResultUID = d.text()
		case "columns":
			e.Columns = d.columns()
		default:
			d.skip()
		}
	})
	if !ok {
		return errNotObject
	}
	return nil
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
	read := data(func(d *decoder) { page = rows(d, eventRow) })

	text := strconv.FormatInt(id, 10)
	k, err := alertsAggregated.with(text)
	if err != nil {
		return page, err
	}
	err = s.c.do(ctx, k, in, read)
	if refusal, ok := errors.AsType[*APIError](err); !ok || refusal.Status != 405 {
		return page, err
	}
	if k, err = alertsAggregated2x.with(text); err != nil {
		return page, err
	}
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
	k, err := alertsRelated.with(strconv.FormatInt(id, 10))
	if err != nil {
		return related, err
	}
	err = s.c.do(ctx, k, nil, data(func(d *decoder) {
		d.object(func(key string) {
			switch key {
			case "schedule_query_data_list_obj":
				d.array(func() {
					var q QueryRows
					d.object(func(key string) {
						switch key {
						case "name":
							q.Name = d.word()
						case "data":
							q.Rows = columnRows(d)
						default:
							d.skip()
						}
					})
					related.Queries = append(related.Queries, q)
				})
			case "system_state_data_list":
				related.States = d.texts()
			default:
				d.skip()
			}
		})
	}))
	return related, err
}

// columnRows reads an array of rows; what is not an object is left out.
func columnRows(d *decoder) (list []map[string]string) {
	d.array(func() {
		if cols := d.columns(); cols != nil {
			list = append(list, cols)
		}
	})
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
	err = s.c.do(ctx, alertsProcess, in, data(func(d *decoder) {
		d.object(func(key string) {
			switch key {
			case "name":
				tree.Name = d.text()
			case "path":
				tree.Path = d.text()
			case "node_type":
				tree.NodeType = d.text()
			case "data":
				tree.Data = d.columns()
			case "all_children":
				d.array(func() { tree.Groups = append(tree.Groups, processGroup(d)) })
			default:
				d.skip()
			}
		})
	}))
	return tree, err
}

func processGroup(d *decoder) (g ProcessGroup) {
	d.object(func(key string) {
		switch key {
		case "action":
			g.Action = d.text()
		case "name":
			g.Name = d.text()
		case "node_type":
			g.NodeType = d.text()
		case "process_guid":
			g.GUID = d.text()
		case "count":
			g.Count = d.count()
		case "fetched":
			g.Fetched = d.truth()
		case "last_time":
			g.LastTime = d.time()
		case "children", "all_children":
			// Both hold the same rows; the second is complete where they differ.
			if events := processEvents(d); len(events) > len(g.Children) {
				g.Children = events
			}
		default:
			d.skip()
		}
	})
	return g
}

func processEvents(d *decoder) (list []ProcessEvent) {
	d.array(func() {
		var e ProcessEvent
		if d.object(func(key string) {
			switch key {
			case "name":
				e.Name = d.text()
			case "has_child":
				e.HasChild = d.truth()
			case "data":
				e.Data = d.columns()
			default:
				d.skip()
			}
		}) {
			list = append(list, e)
		}
	})
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
	err = s.c.do(ctx, alertsProcessChild, in, data(func(d *decoder) {
		d.object(func(key string) {
			switch key {
			case "child_data":
				children.Events = processEvents(d)
			case "last_time":
				children.LastTime = d.time()
			default:
				d.skip()
			}
		})
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

// Notes fetches the notes on an alert, newest first. Enterprise only.
// API: GET /alerts/{alert_id}/analyst/notes (REST guide 4.0.0, "Get analyst notes").
func (s *AlertsService) Notes(ctx context.Context, id int64) (notes []Note, err error) {
	k, err := notesList.with(strconv.FormatInt(id, 10))
	if err != nil {
		return nil, err
	}
	err = s.c.do(ctx, k, nil, data(func(d *decoder) {
		notes = rows(d, func(d *decoder, n *Note) error {
			ok := d.object(func(key string) {
				switch key {
				case "id":
					n.ID = d.id()
				case "notes":
					n.Text = d.text()
				case "user":
					n.User = d.word()
				case "user_id":
					n.UserID = d.id()
				case "created_at":
					n.CreatedAt = d.time()
				case "updated_at":
					n.UpdatedAt = d.time()
				default:
					d.skip()
				}
			})
			if !ok {
				return errNotObject
			}
			return nil
		}).Results
	}))
	return slices.Clip(notes), err
}

// AddNote writes a note on an alert and returns its id, 0 if the server does not
// tell it. Enterprise only.
// API: POST /alerts/{alert_id}/analyst/notes (REST guide 4.0.0, "Add analyst note").
func (s *AlertsService) AddNote(ctx context.Context, id int64, text string) (noteID int64, err error) {
	if text == "" {
		return 0, fmt.Errorf("add note: %w: the note is empty", ErrInvalid)
	}
	k, err := notesAdd.with(strconv.FormatInt(id, 10))
	if err != nil {
		return 0, err
	}
	err = s.c.do(ctx, k, map[string]any{"notes": text}, data(func(d *decoder) {
		d.object(func(key string) {
			// The spelling is the server's.
			if strings.EqualFold(key, "Analyst_note_id") {
				noteID = d.id()
			} else {
				d.skip()
			}
		})
	}))
	return noteID, err
}

// UpdateNote rewrites a note. Only its author may. Enterprise only.
// API: PUT /alerts/{alert_id}/analyst/notes (REST guide 4.0.0, "Update analyst note").
func (s *AlertsService) UpdateNote(ctx context.Context, id, noteID int64, text string) error {
	if text == "" {
		return fmt.Errorf("update note: %w: the note is empty", ErrInvalid)
	}
	k, err := notesUpdate.with(strconv.FormatInt(id, 10))
	if err != nil {
		return err
	}
	return s.c.do(ctx, k, map[string]any{"notes": text, "note_id": noteID}, nil)
}

// DeleteNote removes a note. Enterprise only.
// API: DELETE /alerts/{alert_id}/analyst/notes (REST guide 4.0.0, "Delete analyst note").
func (s *AlertsService) DeleteNote(ctx context.Context, id, noteID int64) error {
	k, err := notesDelete.with(strconv.FormatInt(id, 10))
	if err != nil {
		return err
	}
	return s.c.do(ctx, k, map[string]any{"note_id": noteID}, nil)
}
