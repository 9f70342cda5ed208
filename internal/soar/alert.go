// Package soar holds the words that all parts of erbridge speak: alert, host,
// run, entry, event, change. It has types and small pure functions only, and
// imports nothing but the standard library.
package soar

import (
	"encoding/json"
	"time"
)

// Alert is one finding of an Endpoint Response server, normalised. Its JSON form
// is what playbooks see as .alert, what the store keeps and what sinks format.
type Alert struct {
	// Server is the configured name of the server or webhook sender.
	Server string `json:"server"`
	// ID is the server's own alert id, as text; unique within Server.
	ID string `json:"id"`
	// Source is what raised the alert: rule, ioc, virustotal, ibmxforce,
	// alienvault, or a later word; always lower case.
	Source string `json:"source"`
	// Type is the server's word for the kind of alert: rule or "Threat Intel".
	Type string `json:"type,omitempty"`
	// Severity is the normalised severity.
	Severity Severity `json:"severity"`
	// SeverityText is the severity exactly as the server wrote it.
	SeverityText string `json:"severity_text,omitempty"`
	// Status is open or resolved. A null status of the server counts as open.
	Status string `json:"status"`
	// Verdict is true_positive, false_positive or empty.
	Verdict string `json:"verdict,omitempty"`
	// Comment is the analyst's comment that came with the verdict.
	Comment string `json:"comment,omitempty"`
	// CreatedAt is when the server raised the alert, in UTC.
	CreatedAt time.Time `json:"created_at"`
	// UpdatedAt is when the server last changed its status; zero if never.
	UpdatedAt time.Time `json:"updated_at,omitzero"`
	// EventTime is when the event happened on the host: column time, else
	// utc_time, else CreatedAt.
	EventTime time.Time `json:"event_time"`
	// QueryName is the osquery query that fed the rule.
	QueryName string `json:"query_name,omitempty"`
	// ResultID is the server's result_log_uid.
	ResultID string `json:"result_id,omitempty"`
	// EventCount is how many events the server has aggregated into the alert.
	// Servers before 4.0 count the first event too.
	EventCount int `json:"event_count"`
	// Host is the endpoint. Name and ID come with the alert; the rest needs the
	// host record.
	Host Host `json:"host"`
	// Rule is the rule that matched; nil for threat-intelligence alerts.
	Rule *Rule `json:"rule,omitempty"`
	// Event holds the columns of the event, all of them text, as osquery has them.
	Event map[string]string `json:"event"`
	// Intel is the feed's own answer for threat-intelligence alerts.
	Intel json.RawMessage `json:"intel,omitempty"`
	// URL is the alert's page in the server's console.
	URL string `json:"url,omitempty"`
	// Backfill marks an alert that existed before erbridge first met the server;
	// no playbook acts on it above observe mode.
	Backfill bool `json:"backfill,omitempty"`
}

// Ref names the alert everywhere outside the store: server, dash, id. It is the
// event id that sinks hand on for deduplication.
func (a *Alert) Ref() string { return a.Server + "-" + a.ID }

// Title is the one-line name of the alert: the rule, else the source.
func (a *Alert) Title() string {
	switch {
	case a.Rule != nil && a.Rule.Name != "":
		return a.Rule.Name
	case a.Source != "":
		return a.Source + " match"
	}
	return "alert " + a.ID
}

// The values of Alert.Status and Alert.Verdict.
const (
	StatusOpen           = "open"
	StatusResolved       = "resolved"
	VerdictTruePositive  = "true_positive"
	VerdictFalsePositive = "false_positive"
)

// Host is an endpoint as the server knows it.
type Host struct {
	ID         int64     `json:"id,omitempty"` // the server's node id
	Identifier string    `json:"identifier,omitempty"`
	Name       string    `json:"name,omitempty"`
	Platform   string    `json:"platform,omitempty"` // windows, darwin, or a Linux distribution
	OS         string    `json:"os,omitempty"`
	OSVersion  string    `json:"os_version,omitempty"`
	IP         string    `json:"ip,omitempty"`
	MAC        string    `json:"mac,omitempty"`
	Tags       []string  `json:"tags,omitempty"`
	Online     *bool     `json:"online,omitempty"` // nil when not known
	LastSeen   time.Time `json:"last_seen,omitzero"`
}

// Rule is the server rule behind an alert. The alert itself carries only ID and
// Name; the rest comes from the rule object.
type Rule struct {
	ID          int64    `json:"id"`
	Name        string   `json:"name"`
	Description string   `json:"description,omitempty"`
	Techniques  []string `json:"techniques,omitempty"` // T1059, T1059.001
	Tactics     []string `json:"tactics,omitempty"`    // slugs: credential-access
}

// Plain turns any value into the plain JSON values (nil, bool, float64, string,
// []any, map[string]any) that jq takes. An integer type handed to gojq makes it
// return an error whose own text panics, so everything goes through here.
func Plain(v any) (any, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var plain any
	if err := json.Unmarshal(data, &plain); err != nil {
		return nil, err
	}
	return plain, nil
}
