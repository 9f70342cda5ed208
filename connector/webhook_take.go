package connector

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// process makes alerts of an authenticated body, or fetches those it names. It
// returns how many came in.
func (w *Webhook) process(ctx context.Context, s *sender, body []byte) (int, error) {
	var input any
	if err := json.Unmarshal(body, &input); err != nil {
		return 0, malformed("the body is not JSON: %w", err)
	}
	mapped, err := s.mapping.Value(ctx, input)
	if err != nil {
		return 0, malformed("map: %w", err)
	}
	items, isList := mapped.([]any)
	if !isList {
		items = []any{mapped}
	}
	if len(items) > maxWebhookAlerts {
		return 0, malformed("%d alerts in one call, the limit is %d", len(items), maxWebhookAlerts)
	}
	if s.Verify == "trust" {
		return w.trust(ctx, s, items)
	}
	return w.doorbell(ctx, items)
}

// trust stores what the sender says.
func (w *Webhook) trust(ctx context.Context, s *sender, items []any) (int, error) {
	alerts := make([]soar.Alert, len(items))
	for i, item := range items {
		alert, err := trustedAlert(item, s.name, w.env.Now())
		if err != nil {
			return 0, malformed("map made an alert that cannot be taken (number %d): %w", i+1, err)
		}
		alerts[i] = alert
	}
	if len(alerts) == 0 {
		return 0, nil
	}
	_, err := w.env.Intake.Commit(ctx, soar.Change{Alerts: alerts})
	if errors.Is(err, soar.ErrTooLarge) {
		return 0, malformed("%w", err)
	}
	if err != nil {
		return 0, fmt.Errorf("store alerts of webhook sender %q: %w", s.name, err)
	}
	return len(alerts), nil
}

// trustedAlert reads an alert in the form of .alert, strictly, and fills what a
// sender need not know.
func trustedAlert(item any, server string, now time.Time) (soar.Alert, error) {
	data, err := json.Marshal(item)
	if err != nil {
		return soar.Alert{}, err
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	var a soar.Alert
	if err := decoder.Decode(&a); err != nil {
		return soar.Alert{}, err
	}
	if a.ID == "" {
		return soar.Alert{}, errors.New("id is missing; it is what makes a repeated call harmless")
	}
	a.Server, a.Backfill = server, false
	if a.SeverityText == "" {
		a.SeverityText = string(a.Severity)
	}
	severity, known := soar.ParseSeverity(a.SeverityText)
	if !known {
		return soar.Alert{}, fmt.Errorf("severity %q is none of info, low, medium, high, critical", a.SeverityText)
	}
	a.Severity = severity
	switch a.Status {
	case "":
		a.Status = soar.StatusOpen
	case soar.StatusOpen, soar.StatusResolved:
	default:
		return soar.Alert{}, fmt.Errorf("status %q is none of open, resolved", a.Status)
	}
	if a.Source == "" {
		a.Source = "webhook"
	}
	a.Source = strings.ToLower(a.Source)
	if a.CreatedAt.IsZero() {
		a.CreatedAt = now
	}
	if a.EventTime.IsZero() {
		a.EventTime = a.CreatedAt
	}
	for _, at := range []*time.Time{&a.CreatedAt, &a.EventTime, &a.UpdatedAt, &a.Host.LastSeen} {
		if *at = at.UTC(); !at.IsZero() && (at.Year() < 1970 || at.Year() > 9998) {
			return soar.Alert{}, fmt.Errorf("the time %s lies outside the years 1970 to 9998", at.Format(time.RFC3339))
		}
	}
	if a.Event == nil {
		a.Event = map[string]string{}
	}
	return a, nil
}

// doorbell reads the alerts by id from the server. A call without an id makes the
// poller look.
func (w *Webhook) doorbell(ctx context.Context, items []any) (int, error) {
	ids := make([]int64, 0, len(items))
	for _, item := range items {
		switch v := item.(type) {
		case nil:
			continue
		case float64:
			if v != float64(int64(v)) || v <= 0 {
				return 0, malformed("alert id %v is not a whole number above zero", v)
			}
			ids = append(ids, int64(v))
		case string:
			id, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
			if err != nil || id <= 0 {
				return 0, malformed("alert id %q is not a whole number above zero", v)
			}
			ids = append(ids, id)
		default:
			return 0, malformed("an alert id must be a number or a text")
		}
	}
	w.ring()
	if len(ids) == 0 {
		return 0, nil
	}
	slices.Sort(ids)
	return w.fetch(ctx, slices.Compact(ids))
}
