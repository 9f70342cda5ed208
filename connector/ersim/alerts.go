package ersim

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
)

// AlertSpec describes something that an endpoint saw and a rule or feed took
// notice of. The zero value is a detection of the rule "Simulated load" on a host
// that the seed picks.
type AlertSpec struct {
	// Host is the identifier, id or name of the endpoint; empty picks one.
	Host string `json:"host,omitempty"`
	// Rule is the name of the rule; a name the server does not know makes a rule
	// with Severity, Techniques and Tactics. Ignored unless Source is rule.
	Rule string `json:"rule,omitempty"`
	// Source is rule (default), ioc, virustotal, ibmxforce or alienvault.
	Source string `json:"source,omitempty"`
	// Severity is INFO, LOW, MEDIUM, HIGH or CRITICAL; default that of the rule, and
	// LOW for feeds; on release 2.1.2 IBM X-Force has none.
	Severity string `json:"severity,omitempty"`
	// Techniques and Tactics are for a new rule.
	Techniques []string `json:"techniques,omitempty"`
	Tactics    []string `json:"tactics,omitempty"`
	// Query is the name of the query that produced the row.
	Query string `json:"query,omitempty"`
	// Columns are the columns of the event. Without any it is the start of a process.
	Columns map[string]string `json:"columns,omitempty"`
	// Intel is what the feed said; null unless the source is one.
	Intel map[string]any `json:"intel,omitempty"`
	// CreatedAt is when the alert was raised; default now.
	CreatedAt time.Time `json:"created_at,omitzero"`
	// Separate makes a new alert even while an older one of the same host and rule
	// would absorb it.
	Separate bool `json:"separate,omitempty"`
	// Detached leaves the host alone. Otherwise the process and the file that the
	// columns speak of come into being there, so that they can be acted on.
	Detached bool `json:"detached,omitempty"`
	// Threat is what Defender calls the file that the columns speak of; empty: harmless.
	Threat string `json:"threat,omitempty"`
}

// AlertState is an alert as it is now.
type AlertState struct {
	ID         int64             `json:"id"`
	Host       string            `json:"host"` // identifier
	HostName   string            `json:"host_name"`
	Rule       string            `json:"rule,omitempty"`
	Source     string            `json:"source"`
	Severity   string            `json:"severity"`
	Status     string            `json:"status"`
	Verdict    string            `json:"verdict,omitempty"`
	Comment    string            `json:"comment,omitempty"`
	UpdatedBy  string            `json:"updated_by,omitempty"`
	EventCount int               `json:"event_count"` // as the API counts in this profile
	CreatedAt  time.Time         `json:"created_at"`
	UpdatedAt  time.Time         `json:"updated_at,omitzero"`
	Columns    map[string]string `json:"columns"`
	Notes      []string          `json:"notes,omitempty"`
}

// alert is a row of the alert table with what hangs on it. The event and the
// feed's answer are kept encoded: a million alerts are a million of these.
type alert struct {
	id        int64
	host      *host
	rule      *rule // nil for threat intelligence
	source    string
	severity  string
	query     string
	entry     json.RawMessage
	intel     json.RawMessage // nil for rules
	createdAt time.Time
	updatedAt time.Time // zero until somebody resolves or reopens it
	change    *change   // nil until then
	eventID   int64     // of the event that raised it
	events    []event   // what it absorbed; on release 2.1.2 also the first event
	notes     []*note
}

// change is what an analyst made of an alert.
type change struct {
	resolved bool
	verdict  string // TRUE POSITIVE, FALSE POSITIVE or empty
	comment  string
	by       string
}

// event is a result row.
type event struct {
	id    int64
	query string
	entry json.RawMessage
	at    time.Time
}

const (
	sourceRule    = "rule"
	statusOpen    = "OPEN"
	statusClosed  = "RESOLVED"
	truePositive  = "TRUE POSITIVE"
	falsePositive = "FALSE POSITIVE"
)

// alertSources are listed by count_by_source in this order.
var alertSources = []string{"virustotal", sourceRule, "ibmxforce", "alienvault", "ioc"}

func (a *alert) resolved() bool { return a.change != nil && a.change.resolved }

func (a *alert) status() string {
	if a.resolved() {
		return statusClosed
	}
	return statusOpen
}

func (a *alert) kind() string {
	if a.source == sourceRule {
		return sourceRule
	}
	return "Threat Intel"
}

func (a *alert) columns() map[string]string {
	columns := map[string]string{}
	_ = json.Unmarshal(a.entry, &columns) // encoded by us
	return columns
}

// Raise makes an endpoint report what spec describes and returns the id of the
// alert: a new one, or the one that absorbed it. It returns 0 for a host or
// source that does not exist, for a removed host, whose agent the server turns away,
// and for a rule that is disabled or deleted.
func (s *Server) Raise(spec AlertSpec) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.raise(spec)
}

func (s *Server) raise(spec AlertSpec) int64 {
	s.lastRaise++
	h := s.pickHost(spec.Host)
	spec.Source = defaultText(spec.Source, sourceRule)
	if h == nil || h.state != hostActive || !slices.Contains(alertSources, spec.Source) {
		return 0
	}
	now := s.now()
	at := spec.CreatedAt.UTC()
	if spec.CreatedAt.IsZero() {
		at = now.Truncate(time.Microsecond)
	}
	if len(spec.Columns) == 0 {
		spec.Columns = s.loadColumns(h, s.lastRaise, at)
	}
	if !spec.Detached {
		h.realise(spec, at)
	}
	entry := encodeJSON(spec.Columns)
	spec.Query = defaultText(spec.Query, s.queryName(h, spec.Columns))
	s.lastEvent++
	seen := event{s.lastEvent, spec.Query, entry, at}
	if spec.Source != sourceRule {
		a := s.newAlert(h, nil, spec, seen)
		s.pushAlert(a, spec.Columns)
		return a.id
	}
	r := s.ruleNamed(defaultText(spec.Rule, "Simulated load"), rule{
		severity: spec.Severity, techniques: spec.Techniques, tactics: spec.Tactics, condition: [2]string{"action", spec.Columns["action"]},
	})
	if r.status != ruleActive {
		h.background = append(h.background, seen) // the event is stored all the same
		return 0
	}
	if older := h.open[r.id]; older != nil && !spec.Separate && s.opts.AggregationWindow > 0 &&
		at.Sub(older.createdAt) < s.opts.AggregationWindow {
		// The row itself stays as it is, whatever its status.
		older.events = append(older.events, seen)
		if !s.profile.v4 {
			s.pushAlert(older, spec.Columns) // before 4.0 every match fires the alerters
		}
		return older.id
	}
	a := s.newAlert(h, r, spec, seen)
	h.open[r.id] = a
	s.pushAlert(a, spec.Columns)
	return a.id
}

func (s *Server) pickHost(ref string) *host {
	if ref != "" {
		return s.host(ref)
	}
	if len(s.hosts) == 0 {
		return nil
	}
	return s.hosts[s.random("raise-host", s.lastRaise).IntN(len(s.hosts))]
}

func (s *Server) newAlert(h *host, r *rule, spec AlertSpec, seen event) *alert {
	s.lastAlert++
	a := &alert{
		id: s.lastAlert, host: h, rule: r, source: spec.Source, query: spec.Query, entry: seen.entry, createdAt: seen.at,
		severity: strings.ToUpper(spec.Severity), eventID: seen.id,
	}
	switch {
	case r == nil:
		if s.profile.v4 || spec.Source != "ibmxforce" {
			a.severity = defaultText(a.severity, "LOW")
		}
		a.intel = json.RawMessage("{}")
		if len(spec.Intel) > 0 {
			a.intel = encodeJSON(spec.Intel)
		}
	case a.severity == "":
		a.severity = r.severity
	}
	if r != nil && !s.profile.v4 {
		a.events = []event{seen} // before 4.0 the first event is counted too
	}
	if s.lateFault() {
		s.held = append(s.held, a)
		return a
	}
	s.commit(a)
	return a
}

// commit makes an alert visible. Its id may be lower than one that is visible
// already.
func (s *Server) commit(a *alert) {
	if s.hides(a.host) {
		a.host.hidden = insert(a.host.hidden, a, byID)
		s.hostUpkeep.hidden[a.id] = a
		s.count(a, 1)
		return
	}
	s.alerts = insert(s.alerts, a, byID)
	s.created = insert(s.created, a, byCreation)
	a.host.alerts = insert(a.host.alerts, a, byID)
	s.count(a, 1)
}

// count adds n to the numbers of open alerts that a belongs to.
func (s *Server) count(a *alert, n int) {
	a.host.unended += n
	if !s.hides(a.host) {
		s.countShown(a, n)
	}
}

func (s *Server) countShown(a *alert, n int) {
	s.open += n
	if a.rule != nil {
		a.rule.open += n
	}
}

// releaseHeld commits the late alerts that lie below an id which a client has seen.
func (s *Server) releaseHeld(seen int64) {
	s.held = slices.DeleteFunc(s.held, func(a *alert) bool {
		if a.id < seen {
			s.commit(a)
		}
		return a.id < seen
	})
}

func byID(a, b *alert) int { return cmp.Compare(a.id, b.id) }

func byCreation(a, b *alert) int {
	return cmp.Or(a.createdAt.Compare(b.createdAt), cmp.Compare(a.id, b.id))
}

// insert keeps the list in order; nearly always the new one goes to the end.
func insert(list []*alert, a *alert, order func(a, b *alert) int) []*alert {
	at := len(list)
	if at > 0 && order(list[at-1], a) > 0 {
		at, _ = slices.BinarySearchFunc(list, a, order)
	}
	return slices.Insert(list, at, a)
}

// alert finds an alert by id, also one that went out of sight with its host.
func (s *Server) alert(id int64) *alert {
	at, found := slices.BinarySearchFunc(s.alerts, id, func(a *alert, id int64) int { return cmp.Compare(a.id, id) })
	if !found {
		return s.hostUpkeep.hidden[id]
	}
	return s.alerts[at]
}

// Alerts is every committed alert by id.
func (s *Server) Alerts() []AlertState {
	s.mu.Lock()
	defer s.mu.Unlock()
	states := make([]AlertState, 0, len(s.alerts))
	for _, a := range s.alerts {
		state := AlertState{
			ID: a.id, Host: a.host.identifier, HostName: a.host.name, Source: a.source, Severity: s.severityName(a.severity),
			Status: a.status(), EventCount: len(a.events), CreatedAt: a.createdAt, UpdatedAt: a.updatedAt, Columns: a.columns(),
			Notes: noteTexts(a),
		}
		if a.rule != nil {
			state.Rule = a.rule.name
		}
		if a.change != nil {
			state.Verdict, state.Comment, state.UpdatedBy = a.change.verdict, a.change.comment, a.change.by
		}
		states = append(states, state)
	}
	return states
}

// API: PUT /alerts. Without resolve it reopens, which nobody checks the role for.
func (s *Server) alertsUpdate(c *call) answer {
	const help = "alert ids to resolve/unresolve"
	resolve := c.flag("resolve", "resolve")
	verdict := c.flag("verdict", "verdict")
	texts := c.array("alert_ids")
	switch {
	case c.null("alert_ids"):
		c.mistake("alert_ids", help, "Must not be null!")
	case len(texts) == 0:
		c.mistake("alert_ids", help, missingText)
	}
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	resolving := resolve != nil && *resolve
	if s.profile.v4 && resolving && verdict == nil {
		return nested(400, "Verdict is required to resolve an alert!")
	}
	if s.profile.v4 && resolve != nil && !*resolve && c.user.role != roleAdmin {
		return forbidden
	}
	ids := make([]int64, 0, len(texts))
	for _, text := range texts {
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return s.crash() // observed on release 2.1.2, comma text included
		}
		ids = append(ids, id)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		a := s.alert(id)
		if a == nil {
			continue // nobody is told
		}
		if a.resolved() != resolving {
			s.count(a, 1-2*boolRank(resolving))
		}
		a.updatedAt = s.now().Truncate(time.Microsecond)
		a.change = &change{resolved: resolving, by: c.user.name}
		if resolving && verdict != nil {
			a.change.verdict = falsePositive
			if *verdict {
				a.change.verdict = truePositive
			}
		}
		if resolving {
			a.change.comment = c.text("comment")
		}
	}
	return s.ok("Selected alerts status is changed successfully", nil)
}
