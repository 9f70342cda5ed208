package sinks

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// PagerDutySettings configures a pagerduty sink: an incident for each alert that is
// bad enough, resolved when the alert is.
type PagerDutySettings struct {
	// RoutingKey is the integration key of a service, or of an event orchestration,
	// with Events API v2: 32 letters and digits.
	RoutingKey soar.Secret `yaml:"routing_key" required:"true"`

	// MinSeverity is the least severity of alerts that page. What a playbook sends
	// here with notify.send pages whatever its alert's severity.
	MinSeverity string `yaml:"min_severity" enum:"info,low,medium,high,critical"`

	// Approvals pages for questions to people too: an approval that waits at night
	// is of no use when nobody sees it. It is an incident of its own, resolved when
	// the question is decided or has become void.
	Approvals bool `yaml:"approvals"`

	// Trouble pages when erbridge itself needs a person. Nothing resolves these
	// incidents but people.
	Trouble bool `yaml:"trouble"`

	// Region is where the account lives: us or eu.
	Region string `yaml:"region" enum:"us,eu"`

	// URL is the address of the Events API, where region is not enough: a relay, or
	// a test.
	URL string `yaml:"url"`

	// Timeout bounds one request, including the dial.
	Timeout time.Duration `yaml:"timeout"`

	TLSSettings `yaml:",inline"`
}

// Check implements Checker.
func (s *PagerDutySettings) Check(report func(setting, hint, format string, args ...any)) {
	if s.URL != "" {
		checkURL(s.URL, report)
	}
	checkTimeout(s.Timeout, report)
}

func init() {
	Types.Add("pagerduty", Type{
		Summary: "Pages people through PagerDuty (Events API v2), and resolves what is resolved.",
		Settings: &PagerDutySettings{
			MinSeverity: string(soar.SeverityHigh), Approvals: true, Trouble: true, Region: "us", Timeout: 15 * time.Second,
		},
		Example:  "type: pagerduty\nrouting_key: {file: /run/secrets/pagerduty-key}\nmin_severity: critical\n",
		MaxBatch: 1,
		// A change of an alert resolves its incident. How steps and runs end is not
		// news for a pager; what needs a person comes as trouble.
		Events: []soar.EventType{
			soar.EventAlertReceived, soar.EventAlertUpdated, soar.EventAlertGrouped, soar.EventNotification,
			soar.EventApprovalRequested, soar.EventApprovalDecided, soar.EventTrouble, soar.EventTest,
		},
		Open: func(_ string, settings any, env Env) (Sink, error) {
			return openPagerDuty(*settings.(*PagerDutySettings), env)
		},
	})
}

// Where the Events API is. https://developer.pagerduty.com/docs/events-api-v2-overview
var pagerDutyURLs = map[string]string{
	"us": "https://events.pagerduty.com/v2/enqueue",
	"eu": "https://events.eu.pagerduty.com/v2/enqueue",
}

// Limits of the Events API v2 ("Send an alert event").
const (
	pagerDutySummaryMax = 1024
	pagerDutyKeyMax     = 255
	pagerDutyBodyMax    = 512 << 10
	// What we put into the details, far below the bound of the body.
	pagerDutyColumns   = 60
	pagerDutyColumnMax = 1000
)

type pagerDuty struct {
	settings PagerDutySettings
	url      string
	client   *http.Client
	agent    string
	state    State
	now      func() time.Time
}

func openPagerDuty(s PagerDutySettings, env Env) (Sink, error) {
	address := s.URL
	if address == "" {
		address = pagerDutyURLs[s.Region]
	}
	u, err := parseURL(address)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	client, err := newHTTPClient(s.TLSSettings, s.Timeout)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	k := &pagerDuty{settings: s, url: u.String(), client: client, agent: userAgent(env), state: env.State, now: env.Now}
	if k.state == nil {
		k.state = forgetful{}
	}
	if k.now == nil {
		k.now = time.Now
	}
	return k, nil
}

// The values of pagerDutyEvent.Action.
const (
	pagerDutyTrigger = "trigger"
	pagerDutyResolve = "resolve"
)

// pagerDutyEvent is the body of a request (Events API v2, "Send an alert event").
type pagerDutyEvent struct {
	RoutingKey string            `json:"routing_key"`
	Action     string            `json:"event_action"`
	DedupKey   string            `json:"dedup_key"`
	Client     string            `json:"client,omitempty"`
	ClientURL  string            `json:"client_url,omitempty"`
	Links      []pagerDutyLink   `json:"links,omitempty"`
	Payload    *pagerDutyPayload `json:"payload,omitempty"`
}

type pagerDutyLink struct {
	Href string `json:"href"`
	Text string `json:"text"`
}

type pagerDutyPayload struct {
	Summary   string            `json:"summary"`
	Source    string            `json:"source"`
	Severity  string            `json:"severity"`
	Timestamp time.Time         `json:"timestamp,omitzero"`
	Component string            `json:"component,omitempty"`
	Group     string            `json:"group,omitempty"`
	Class     string            `json:"class,omitempty"`
	Details   map[string]string `json:"custom_details,omitempty"`
}

// pagerDutySeverities has no word between info and warning.
var pagerDutySeverities = map[soar.Severity]string{
	soar.SeverityInfo: "info", soar.SeverityLow: "info", soar.SeverityMedium: "warning", soar.SeverityHigh: "error", soar.SeverityCritical: "critical",
}

// Send posts the events one by one. A repeat is harmless: PagerDuty knows incidents
// by dedup_key.
func (s *pagerDuty) Send(ctx context.Context, events []soar.Event) error {
	for i := range events {
		if err := s.deliver(ctx, &events[i]); err != nil {
			return rest(i, len(events), fmt.Errorf("pagerduty: %w", err))
		}
	}
	return nil
}

func (s *pagerDuty) deliver(ctx context.Context, ev *soar.Event) error {
	action, key, err := s.plan(ctx, ev)
	switch {
	case err != nil:
		return err
	case action == pagerDutyTrigger && ev.Type == soar.EventTest: // shows that it works, and leaves nothing open
		if err := s.post(ctx, trigger(ev, key)); err != nil {
			return err
		}
		return s.post(ctx, pagerDutyEvent{Action: pagerDutyResolve, DedupKey: key})
	case action == pagerDutyTrigger:
		return s.post(ctx, trigger(ev, key))
	case action == pagerDutyResolve:
		return s.post(ctx, pagerDutyEvent{Action: pagerDutyResolve, DedupKey: key})
	}
	return nil
}

// plan is what to do about an event, and to which incident; an empty action is
// nothing.
//
// A run that begins does not acknowledge the incident: that would stop PagerDuty
// from calling the next person, and no playbook is a person who looks at it.
func (s *pagerDuty) plan(ctx context.Context, ev *soar.Event) (action, key string, err error) {
	a := ev.Alert
	switch {
	case ev.Type == soar.EventAlertReceived && a != nil:
		if s.pages(a.Severity) {
			return pagerDutyTrigger, alertKey(a.Ref()), nil
		}
	case ev.Type == soar.EventAlertGrouped && ev.Group != nil:
		// The same incident as that of the first alert, with what came since.
		if a != nil && s.pages(a.Severity) {
			return pagerDutyTrigger, alertKey(ev.Group.Head), nil
		}
	case ev.Type == soar.EventAlertUpdated && a != nil:
		return s.planUpdate(ctx, ev)
	case ev.Type == soar.EventNotification && a != nil:
		if s.pages(a.Severity) {
			return pagerDutyTrigger, alertKey(a.Ref()), nil
		}
		// Nothing else tells later that there is an incident to resolve.
		return pagerDutyTrigger, alertKey(a.Ref()), s.state.Set(ctx, pagedKey(a), "1", keepPaged)
	case ev.Type == soar.EventApprovalRequested && ev.Approval != nil && s.settings.Approvals:
		return pagerDutyTrigger, approvalKey(ev.Approval), nil
	case ev.Type == soar.EventApprovalDecided && ev.Approval != nil && s.settings.Approvals:
		return pagerDutyResolve, approvalKey(ev.Approval), nil
	case ev.Type == soar.EventTrouble && s.settings.Trouble, ev.Type == soar.EventNotification, ev.Type == soar.EventTest:
		return pagerDutyTrigger, dedupKey(ev.ID), nil
	}
	return "", "", nil
}

// planUpdate resolves the incident of an alert that is resolved, and pages again for
// one that was opened again or got worse.
func (s *pagerDuty) planUpdate(ctx context.Context, ev *soar.Event) (action, key string, err error) {
	a, c := ev.Alert, ev.Change
	if a.Status == soar.StatusResolved {
		paged := s.pages(a.Severity) || c != nil && s.pages(c.From.Severity)
		if !paged {
			_, err := s.state.Get(ctx, pagedKey(a))
			if errors.Is(err, soar.ErrNotFound) {
				return "", "", nil
			}
			if err != nil {
				return "", "", err
			}
		}
		return pagerDutyResolve, alertKey(a.Ref()), nil
	}
	news := c != nil && (slices.Contains(c.What, soar.ChangeReopened) || slices.Contains(c.What, soar.ChangeSeverity))
	if news && s.pages(a.Severity) {
		return pagerDutyTrigger, alertKey(a.Ref()), nil
	}
	return "", "", nil
}

func (s *pagerDuty) pages(severity soar.Severity) bool {
	return severity.AtLeast(soar.Severity(s.settings.MinSeverity))
}

// keepPaged is how long an alert below min_severity is remembered that a playbook
// has paged for.
const keepPaged = 90 * 24 * time.Hour

func pagedKey(a *soar.Alert) string { return "paged/" + a.Ref() }

// alertKey names the incident of an alert; it is all that connects what comes later
// with it.
func alertKey(ref string) string { return dedupKey("er-" + ref) }

func approvalKey(a *soar.Approval) string { return dedupKey("er-approval-" + a.ID) }

// dedupKey is a text, or what stands for it when it is longer than PagerDuty takes.
func dedupKey(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= pagerDutyKeyMax {
		return text
	}
	sum := sha256.Sum256([]byte(text))
	return strings.ToValidUTF8(text[:pagerDutyKeyMax-1-2*len(sum)], "") + "-" + hex.EncodeToString(sum[:])
}

// trigger opens an incident, or adds to the one that is open under the key.
func trigger(ev *soar.Event, key string) pagerDutyEvent {
	n := noticeOf(ev)
	p := &pagerDutyPayload{
		Summary: clipRunes(n.Title, pagerDutySummaryMax), Source: "erbridge", Severity: "warning", Group: "erbridge", Class: string(ev.Type),
		Details: map[string]string{},
	}
	if y := ev.At.Year(); !ev.At.IsZero() && y > 0 && y <= 9999 { // RFC 3339 has no more
		p.Timestamp = ev.At.UTC()
	}
	switch ev.Type {
	case soar.EventTest:
		p.Severity = "info"
	case soar.EventTrouble:
		p.Severity = "error"
		p.Summary = clipRunes(n.Title+": "+shownLine(ev.Text, noticeTextMax), pagerDutySummaryMax)
	}
	if a := ev.Alert; a != nil {
		if word, ok := pagerDutySeverities[a.Severity]; ok {
			p.Severity = word
		}
		p.Group = shownLine(a.Server, noticeFactMax)
		if host := shownLine(hostName(a), noticeFactMax); host != "" {
			p.Source = host
		}
		p.Component = shownLine(firstOf(a.Event, "path", "process_name", "src_path"), noticeFactMax)
		p.Class = shownLine(a.Title(), noticeFactMax)
		columns := slices.Sorted(maps.Keys(a.Event))
		for _, column := range columns[:min(len(columns), pagerDutyColumns)] {
			if value := shownLine(a.Event[column], pagerDutyColumnMax); value != "" {
				p.Details["event."+shownLine(column, 100)] = value
			}
		}
	}
	for _, f := range n.Facts {
		p.Details[f.Name] = f.Value
	}
	for name, value := range map[string]string{"Text": n.Text, "Alert reference": n.Ref} {
		if value != "" {
			p.Details[name] = value
		}
	}
	m := pagerDutyEvent{Action: pagerDutyTrigger, DedupKey: key, Client: "erbridge", ClientURL: n.Link, Payload: p}
	if n.Link != "" {
		m.Links = []pagerDutyLink{{Href: n.Link, Text: "Open in the console"}}
	}
	return m
}

func (s *pagerDuty) post(ctx context.Context, m pagerDutyEvent) error {
	key, err := s.settings.RoutingKey.Reveal()
	if err != nil {
		return fmt.Errorf("%w: routing_key: %w", ErrConfig, err)
	}
	m.RoutingKey = key
	body, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPermanent, err)
	}
	if len(body) > pagerDutyBodyMax {
		return fmt.Errorf("%w: %d bytes, PagerDuty takes %d", ErrTooLarge, len(body), pagerDutyBodyMax)
	}
	req, err := newPost(ctx, s.url, "application/json", body, false, s.agent)
	if err != nil {
		return err
	}
	reply, err := exchange(s.client, req, maxReplyBytes, key)
	if err != nil { // also one whose answer broke off: a repeat opens no second incident
		return err
	}
	return s.judge(reply)
}

// judge reads the answer. A wrong routing key is a 400 like a wrong event, told
// apart by its text alone ("Invalid routing key").
func (s *pagerDuty) judge(r reply) error {
	var answer struct {
		Status string   `json:"status"`
		Errors []string `json:"errors"`
	}
	decodeErr := json.Unmarshal(r.Body, &answer)
	switch {
	case r.Status >= 200 && r.Status < 300 && (decodeErr != nil || answer.Status != "success"):
		return fmt.Errorf("%w: this is not the Events API of PagerDuty; is url right?", r.errorf(ErrConfig))
	case r.Status == http.StatusBadRequest && (strings.EqualFold(strings.TrimSpace(string(r.Body)), "Invalid routing key") ||
		slices.ContainsFunc(answer.Errors, aboutRoutingKey)):
		return fmt.Errorf("%w: is routing_key the integration key of an Events API v2 integration, and region its account's?", r.errorf(ErrConfig))
	}
	return r.judge(s.now())
}

func aboutRoutingKey(text string) bool {
	text = strings.ToLower(text)
	return strings.Contains(text, "routing_key") || strings.Contains(text, "routing key")
}

// Close drops idle connections.
func (s *pagerDuty) Close() error {
	s.client.CloseIdleConnections()
	return nil
}
