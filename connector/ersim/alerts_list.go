package ersim

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// alertFilter is what POST /alerts selects. The basic part decides total_count,
// both parts together decide count.
type alertFilter struct {
	resolved *bool
	sources  []string
	hosts    []*host
	rules    []int64

	ids        []int64
	severities []string
	verdicts   []string
	search     string
	// searchRules has the text looked for in names of rules too: on release 2.1.2 only
	// when the source rule was asked for, as observed.
	searchRules bool
	from, to    time.Time // zero: open
	needRule    bool      // sorting by rule drops alerts that have none
}

func (f *alertFilter) basic(a *alert) bool {
	return (f.resolved == nil || *f.resolved == a.resolved()) &&
		(len(f.sources) == 0 || slices.Contains(f.sources, a.source)) &&
		(len(f.hosts) == 0 || slices.Contains(f.hosts, a.host)) &&
		(len(f.rules) == 0 || a.rule != nil && slices.Contains(f.rules, a.rule.id))
}

func (f *alertFilter) narrow(a *alert) bool {
	switch {
	case len(f.ids) > 0 && !slices.Contains(f.ids, a.id),
		len(f.severities) > 0 && !slices.Contains(f.severities, a.severity),
		!f.from.IsZero() && a.createdAt.Before(f.from),
		!f.to.IsZero() && !a.createdAt.Before(f.to),
		f.needRule && a.rule == nil:
		return false
	}
	return f.matchesVerdict(a) && f.matchesText(a)
}

func (f *alertFilter) matchesVerdict(a *alert) bool {
	if len(f.verdicts) == 0 {
		return true
	}
	verdict := "open"
	if a.resolved() {
		verdict = strings.ToLower(strings.ReplaceAll(a.change.verdict, " ", "_"))
	}
	return slices.Contains(f.verdicts, verdict)
}

func (f *alertFilter) matchesText(a *alert) bool {
	if f.search == "" {
		return true
	}
	contains := func(text string) bool { return strings.Contains(strings.ToLower(text), f.search) }
	return contains(a.severity) || contains(a.host.name) || f.searchRules && a.rule != nil && contains(a.rule.name)
}

// everything reports that nothing but the resolution is filtered, which the
// counters answer without a look at the alerts.
func (f *alertFilter) everything() bool {
	return len(f.sources)+len(f.hosts)+len(f.rules)+len(f.ids)+len(f.severities)+len(f.verdicts) == 0 &&
		f.search == "" && f.from.IsZero() && f.to.IsZero() && !f.needRule
}

// API: POST /alerts.
func (s *Server) alertsList(c *call) answer {
	s.mu.Lock()
	f, refusal := s.readFilter(c)
	start, limit := c.number("start", "start", 0), c.number("limit", "limit", 10)
	if c.null("limit") {
		limit = -1 // observed on release 2.1.2: everything
	}
	withCount := c.flag("events_count", "events_count")
	column := c.choice("column", "column", "hostname", "severity", "rule", "created_at", "status")
	order := c.choice("order_by", "order_by", "asc", "desc")
	bad := s.invalid(c.args)
	switch {
	case bad != nil:
		refusal = bad
	case refusal == nil && c.negativePage():
		crash := s.crash()
		refusal = &crash
	}
	if refusal != nil {
		s.mu.Unlock()
		return *refusal
	}
	f.needRule = column == "rule"
	rows, count, total := s.selectAlerts(f, start, limit, column, order)
	copies := make([]alert, len(rows)) // encoded below without the lock
	seen := int64(0)
	for i, a := range rows {
		copies[i] = *a
		seen = max(seen, a.id)
	}
	s.releaseHeld(seen)
	s.mu.Unlock()

	body := make([]byte, 0, 256+len(copies)*900)
	body = append(body, `{"status":"success","message":"Data is fetched successfully","data":{"count":`...)
	body = strconv.AppendInt(body, int64(count), 10)
	body = append(body, `,"total_count":`...)
	body = strconv.AppendInt(body, int64(total), 10)
	body = append(body, `,"results":[`...)
	onlyIOC := len(f.sources) == 1 && f.sources[0] == "ioc"
	for i := range copies {
		if i > 0 {
			body = append(body, ',')
		}
		body = s.appendRow(body, &copies[i], withCount == nil || *withCount, onlyIOC)
	}
	body = append(body, "]}}\n"...)
	return answer{status: http.StatusOK, contentType: typeJSON, body: asciiJSON(body)}
}

// readFilter reads the arguments. A host or rule that does not exist is a refusal,
// unless others in the list do exist.
func (s *Server) readFilter(c *call) (*alertFilter, *answer) {
	f := &alertFilter{resolved: c.flag("resolved", "True to get all resolved alerts"), sources: c.list("source")}
	if f.resolved == nil && !s.profile.v4 && !c.null("resolved") {
		f.resolved = new(bool) // release 2.1.2 shows open alerts only unless told otherwise
	}
	f.search = strings.ToLower(c.text("searchterm"))
	f.searchRules = s.profile.v4 || slices.Contains(f.sources, sourceRule)
	if refusal := s.readSelection(c, f); refusal != nil {
		return f, refusal
	}
	return f, s.readWindow(c, f)
}

// readSelection reads hosts, rules, ids, and what release 4.0 added.
func (s *Server) readSelection(c *call, f *alertFilter) *answer {
	for _, ref := range c.list("host_identifier") {
		if h := s.hostRefs[strings.ToUpper(ref)]; h != nil {
			f.hosts = append(f.hosts, h)
		}
	}
	if c.text("host_identifier") != "" && len(f.hosts) == 0 {
		return refuse(s.fail("No Host present for the host identifier given!"))
	}
	for _, text := range c.list("rule_id") {
		if id, err := strconv.ParseInt(text, 10, 64); err == nil && id >= 1 && id <= int64(len(s.rules)) {
			f.rules = append(f.rules, id)
		}
	}
	if c.text("rule_id") != "" && len(f.rules) == 0 {
		return refuse(s.fail("No Rule present for the rule id given!"))
	}
	for _, text := range c.array("event_ids") {
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return refuse(s.crash()) // observed on release 2.1.2 for comma text
		}
		f.ids = append(f.ids, id)
	}
	if s.profile.v4 {
		return s.readFilter4(c, f)
	}
	return nil
}

// readFilter4 reads what release 4.0 added. Severities count in lower case only.
func (s *Server) readFilter4(c *call, f *alertFilter) *answer {
	for _, text := range c.list("severity") {
		if text == "warning" {
			text = "medium"
		}
		if slices.Contains([]string{"critical", "high", "medium", "low", "info"}, text) {
			f.severities = append(f.severities, strings.ToUpper(text))
		}
	}
	if c.text("severity") != "" && len(f.severities) == 0 {
		return refuse(nested(http.StatusBadRequest, "Severity passed is invalid!"))
	}
	for _, text := range c.list("verdict") {
		if slices.Contains([]string{"true_positive", "false_positive", "open"}, text) {
			f.verdicts = append(f.verdicts, text)
		}
	}
	if c.text("verdict") != "" && len(f.verdicts) == 0 {
		return refuse(nested(http.StatusBadRequest, "Verdict passed is invalid!"))
	}
	return nil
}

// readWindow reads the dates. Both ends of a window by duration lie one day later
// than one should think, as in get_start_date_end_date of release 4.0; without a
// date there is no window, and resolved alerts are never limited by one.
func (s *Server) readWindow(c *call, f *alertFilter) *answer {
	const day = 24 * time.Hour
	duration := c.choice("duration", "Duration", "1", "2", "3", "4")
	kind := c.choice("type", "Type", "1", "2")
	date, err := day3(c.text("date"))
	first, err1 := day3(c.text("start_date"))
	last, err2 := day3(c.text("end_date"))
	if err != nil || s.profile.v4 && cmp.Or(err1, err2) != nil {
		return refuse(nested(http.StatusBadRequest, "Date format passed is invalid!"))
	}
	switch {
	case f.resolved != nil && *f.resolved:
	case s.profile.v4 && !first.IsZero():
		f.from = first
		if !last.IsZero() {
			f.to = last.Add(day)
		}
	case !date.IsZero():
		length := map[string]time.Duration{"1": time.Hour, "2": day, "4": 30 * day}[duration]
		if length == 0 {
			length = 7 * day
		}
		f.from, f.to = date.Add(day-length), date.Add(day)
		if kind == "1" {
			f.from, f.to = date.Add(day), date.Add(day+length)
		}
	}
	return nil
}

// day3 reads YYYY-MM-DD; empty text is the zero time.
func day3(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	return time.Parse(time.DateOnly, text)
}

func refuse(a answer) *answer { return &a }

// selectAlerts returns one page, the number of matches and the number of matches
// of the basic filters.
func (s *Server) selectAlerts(f *alertFilter, start, limit int64, column, order string) (rows []*alert, count, total int) {
	list := s.alerts
	switch {
	case len(f.hosts) == 1:
		list = f.hosts[0].alerts
	case column == "created_at":
		list = s.created
	}
	if column != "" && (column != "created_at" || len(f.hosts) == 1) {
		return s.sortAlerts(f, list, start, limit, column, order)
	}
	forward := column != "" && order != "desc"
	known := f.everything()
	if known {
		count = s.knownCount(f.resolved)
		total = count
	}
	matched := int64(0)
	for i := range list {
		a := list[i]
		if !forward {
			a = list[len(list)-1-i]
		}
		if !f.basic(a) {
			continue
		}
		if !known {
			total++
			if !f.narrow(a) {
				continue
			}
			count++
		}
		if matched++; matched > start && (limit < 0 || int64(len(rows)) < limit) {
			rows = append(rows, a)
		}
		if known && limit >= 0 && int64(len(rows)) >= limit {
			break
		}
	}
	return rows, count, total
}

func (s *Server) knownCount(resolved *bool) int {
	switch {
	case resolved == nil:
		return len(s.alerts)
	case *resolved:
		return len(s.alerts) - s.open
	}
	return s.open
}

// sortAlerts is the slow way, for the columns that have no index.
func (s *Server) sortAlerts(f *alertFilter, list []*alert, start, limit int64, column, order string) ([]*alert, int, int) {
	var found []*alert
	total := 0
	for _, a := range list {
		if !f.basic(a) {
			continue
		}
		total++
		if f.narrow(a) {
			found = append(found, a)
		}
	}
	slices.SortStableFunc(found, func(a, b *alert) int {
		by := 0
		switch column {
		case "hostname":
			by = cmp.Compare(a.host.name, b.host.name)
		case "severity":
			by = cmp.Compare(s.severityName(a.severity), s.severityName(b.severity))
		case "rule":
			by = cmp.Compare(a.rule.name, b.rule.name)
		case "status":
			by = cmp.Compare(a.status(), b.status())
		case "created_at":
			by = byCreation(a, b)
		}
		if order == "desc" {
			by = -by
		}
		return by
	})
	return page(found, start, limit), len(found), total
}

// appendRow writes a row of the list by hand: pages of a thousand are common.
func (s *Server) appendRow(b []byte, a *alert, withCount, onlyIOC bool) []byte {
	number := func(key string, n int64) {
		b = append(append(b, `,"`...), key...)
		b = strconv.AppendInt(append(b, `":`...), n, 10)
	}
	text := func(key, value string) {
		b = append(append(b, `,"`...), key...)
		b = appendText(append(b, `":`...), value)
	}
	raw := func(key string, value []byte) {
		b = append(append(b, `,"`...), key...)
		b = append(append(b, `":`...), value...)
	}
	b = strconv.AppendInt(append(b, `{"id":`...), a.id, 10)
	number("node_id", a.host.id)
	text("query_name", a.query)
	raw("severity", s.severityText(a))
	text("type", a.kind())
	text("source", a.source)
	raw("status", s.statusText(a))
	text("result_log_uid", s.uuid("result", a.id))
	text("created_at", a.createdAt.Format(layoutList))
	text("hostname", a.host.name)
	raw("alerted_entry", a.entry)
	if withCount {
		number("aggregated_events_count", int64(len(a.events)))
	}
	if a.rule != nil {
		number("rule_id", a.rule.id)
		raw("rule", nil)
		b = append(appendText(append(b, `{"name":`...), a.rule.name), `,"id":`...)
		b = strconv.AppendInt(b, a.rule.id, 10)
		if s.profile.v4 {
			b = appendText(append(b, `,"status":`...), a.rule.status)
		}
		b = append(b, '}')
	} else if s.profile.v4 || !onlyIOC {
		raw("intel_data", a.intel)
	}
	if !s.profile.v4 {
		recon := `{}`
		if a.rule != nil {
			recon = `"null"`
		}
		raw("recon_queries", []byte(recon))
		return append(b, '}')
	}
	updated := a.updatedAt
	if updated.IsZero() {
		updated = a.createdAt
	}
	text("updated_at", updated.Format(layoutList))
	raw("verdict", nullText(a.change, func(c *change) string { return c.verdict }))
	raw("comment", nullText(a.change, func(c *change) string { return c.comment }))
	return append(b, '}')
}

// statusText is the status in JSON. Release 2.1.2 has null for feed alerts that
// nobody touched, and counts it as open.
func (s *Server) statusText(a *alert) json.RawMessage {
	if !s.profile.v4 && a.change == nil && a.source != sourceRule && a.source != "ioc" {
		return json.RawMessage("null")
	}
	return appendText(nil, a.status())
}

// severityText is the severity in JSON: null for alerts of X-Force on release 2.1.2,
// as observed.
func (s *Server) severityText(a *alert) json.RawMessage {
	if a.severity == "" {
		return json.RawMessage("null")
	}
	return appendText(nil, s.severityName(a.severity))
}

func nullText(c *change, of func(*change) string) []byte {
	if c == nil || of(c) == "" {
		return []byte("null")
	}
	return appendText(nil, of(c))
}

// appendText writes a JSON string.
func appendText(b []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return append(b, encodeJSON(text)...)
		}
	}
	return append(append(append(b, '"'), text...), '"')
}

// API: GET /alerts/{id}. The answer has neither id nor event count.
func (s *Server) alertsGet(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, _ := strconv.ParseInt(c.path["id"], 10, 64) // out of range finds nothing
	a := s.alert(id)
	if a == nil {
		out := obj{"status": "failure", "message": "No Alert present for the alert id given!", "data": nil}
		if s.profile.v4 {
			out["data"] = obj{}
		}
		return jsonAnswer(http.StatusOK, out)
	}
	if a.host.state == hostDeleted && !s.profile.v4 {
		return s.crash() // observed
	}
	data := obj{
		"query_name": a.query, "message": a.entry, "node_id": a.host.id, "rule_id": nil, "severity": s.severityText(a),
		"created_at": pySpace(a.createdAt), "type": a.kind(), "source": a.source, "status": s.statusText(a), "source_data": obj{},
		"hostname": a.host.name, "platform": a.host.role.platform,
	}
	if a.rule != nil {
		named := obj{"name": a.rule.name, "id": a.rule.id}
		if s.profile.v4 {
			named["status"] = a.rule.status
		}
		data["rule_id"], data["rule"] = a.rule.id, named
	} else {
		data["source_data"] = a.intel
	}
	if !s.profile.v4 {
		data["recon_queries"] = obj{}
		if a.rule != nil {
			data["recon_queries"] = "null"
		}
		return s.ok("Successfully fetched the Alerts data", data)
	}
	updated := a.updatedAt
	if updated.IsZero() {
		updated = a.createdAt
	}
	data["updated_at"], data["updated_by"] = pySpace(updated), nil
	data["verdict"] = json.RawMessage(nullText(a.change, func(c *change) string { return c.verdict }))
	data["comment"] = json.RawMessage(nullText(a.change, func(c *change) string { return c.comment }))
	if a.change != nil {
		data["updated_by"] = a.change.by
	}
	return s.ok("Successfully fetched the Alerts data", data)
}
