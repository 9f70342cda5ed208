package sinksim

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"
	"unicode/utf8"
)

// PagerDuty is the Events API v2 of PagerDuty: it judges events as the real one does
// and keeps the incidents that they open and resolve. It is an http.Handler.
type PagerDuty struct {
	// RoutingKey is the integration key of the only service.
	RoutingKey string

	answers answers

	mu        sync.Mutex
	events    []PagerDutyEvent
	incidents map[string]string // dedup_key to triggered or resolved
}

// PagerDutyEvent is an event that was taken.
type PagerDutyEvent struct {
	RoutingKey string `json:"routing_key"`
	Action     string `json:"event_action"`
	DedupKey   string `json:"dedup_key"`
	Client     string `json:"client"`
	ClientURL  string `json:"client_url"`
	Links      []struct {
		Href string `json:"href"`
		Text string `json:"text"`
	} `json:"links"`
	Payload *struct {
		Summary   string         `json:"summary"`
		Source    string         `json:"source"`
		Severity  string         `json:"severity"`
		Timestamp string         `json:"timestamp"`
		Component string         `json:"component"`
		Group     string         `json:"group"`
		Class     string         `json:"class"`
		Details   map[string]any `json:"custom_details"`
	} `json:"payload"`
}

// Next queues answers for the next requests.
func (p *PagerDuty) Next(next ...Answer) { p.answers.add(next...) }

// Events are all events taken so far, repeats included.
func (p *PagerDuty) Events() []PagerDutyEvent {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.events)
}

// Incidents are the states, triggered or resolved, by dedup_key.
func (p *PagerDuty) Incidents() map[string]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.incidents)
}

// ServeHTTP answers as https://developer.pagerduty.com/docs/events-api-v2 says.
func (p *PagerDuty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if p.answers.give(w, false) {
		return
	}
	if r.URL.Path != "/v2/enqueue" || r.Method != http.MethodPost {
		http.NotFound(w, r)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 512<<10))
	if err != nil {
		http.Error(w, "event is too large", http.StatusRequestEntityTooLarge)
		return
	}
	var ev PagerDutyEvent
	if err := json.Unmarshal(body, &ev); err != nil {
		pagerDutyAnswer(w, http.StatusBadRequest, "invalid event", "Event object is invalid", "JSON is invalid")
		return
	}
	if wrong := p.judge(&ev); wrong != "" {
		pagerDutyAnswer(w, http.StatusBadRequest, "invalid event", "Event object is invalid", wrong)
		return
	}
	p.mu.Lock()
	p.events = append(p.events, ev)
	if p.incidents == nil {
		p.incidents = map[string]string{}
	}
	switch _, known := p.incidents[ev.DedupKey]; {
	case ev.Action == "trigger":
		p.incidents[ev.DedupKey] = "triggered"
	case known: // nothing happens to an incident that there is not
		p.incidents[ev.DedupKey] = map[string]string{"acknowledge": "acknowledged", "resolve": "resolved"}[ev.Action]
	}
	p.mu.Unlock()
	if p.answers.give(w, true) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	_ = json.NewEncoder(w).Encode(map[string]string{"status": "success", "message": "Event processed", "dedup_key": ev.DedupKey})
}

func (p *PagerDuty) judge(ev *PagerDutyEvent) string {
	if ev.RoutingKey != p.RoutingKey {
		return "Invalid routing key"
	}
	if !slices.Contains([]string{"trigger", "acknowledge", "resolve"}, ev.Action) {
		return "'event_action' is missing or invalid"
	}
	if utf8.RuneCountInString(ev.DedupKey) > 255 {
		return "'dedup_key' is too long (maximum is 255 characters)"
	}
	if ev.Action != "trigger" {
		if ev.DedupKey == "" {
			return "'dedup_key' is missing or blank"
		}
		return ""
	}
	payload := ev.Payload
	switch {
	case payload == nil:
		return "'payload' is missing or blank"
	case payload.Summary == "":
		return "'payload.summary' is missing or blank"
	case utf8.RuneCountInString(payload.Summary) > 1024:
		return "'payload.summary' is too long (maximum is 1024 characters)"
	case payload.Source == "":
		return "'payload.source' is missing or blank"
	case !slices.Contains([]string{"critical", "error", "warning", "info"}, payload.Severity):
		return fmt.Sprintf("'payload.severity' is invalid: %q", payload.Severity)
	}
	if payload.Timestamp != "" {
		if _, err := time.Parse(time.RFC3339, payload.Timestamp); err != nil {
			return "'payload.timestamp' is not ISO 8601"
		}
	}
	for _, link := range ev.Links {
		if link.Href == "" {
			return "'links.href' is missing or blank"
		}
	}
	return ""
}

func pagerDutyAnswer(w http.ResponseWriter, status int, word, message string, errs ...string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"status": word, "message": message, "errors": errs})
}
