package connector

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The sources of alerts.
const (
	SourceRule       = "rule"
	SourceIOC        = "ioc"
	SourceVirusTotal = "virustotal"
	SourceIBMXForce  = "ibmxforce"
	SourceAlienVault = "alienvault"
)

// The severities of alerts, as filters want them. Rules and alerts have them in upper
// case; the WARNING of releases before 4.0 is no filter.
const (
	AlertInfo     = "info"
	AlertLow      = "low"
	AlertMedium   = "medium"
	AlertHigh     = "high"
	AlertCritical = "critical"
)

// The verdicts of alerts, as filters want them.
const (
	VerdictTruePositive  = "true_positive"
	VerdictFalsePositive = "false_positive"
	VerdictOpen          = "open" // none yet
)

// writeWindow writes a window, if there is one.
func (s *AlertsService) writeWindow(in map[string]any, w *EventWindow) error {
	if w == nil {
		return nil
	}
	texts, err := w.arguments(time.Now().Add(s.c.ClockOffset()).UTC())
	for name, text := range texts {
		in[name] = text
	}
	return err
}

// AlertFilter chooses alerts. Empty fields filter nothing.
type AlertFilter struct {
	// Source (see SourceRule), RuleID, Host (identifier), Severity (see AlertInfo)
	// and Verdict (see VerdictOpen) are comma lists in release 4.0, single values
	// before; releases before 4.0 ignore the last two.
	Source, RuleID, Host, Severity, Verdict string
	Search                                  string // host name, rule name, severity
	IDs                                     []int64
	// Since and Until are whole UTC days, both included; Until needs Since. Releases
	// before 4.0 ignore them.
	Since, Until time.Time
	// Window bounds the days for all releases; nil for none. It excludes Since.
	Window *EventWindow
}

// write writes all but the search text, of which the name differs between the calls.
func (s *AlertsService) write(f AlertFilter, in map[string]any, call string) error {
	severity := strings.ToLower(f.Severity) // upper case is refused
	set(in, "source", f.Source)
	set(in, "rule_id", f.RuleID)
	set(in, "host_identifier", f.Host)
	set(in, "severity", severity)
	set(in, "verdict", f.Verdict)
	if len(f.IDs) > 0 {
		in["event_ids"] = f.IDs // they are alert ids, in spite of the name
	}
	if !f.Since.IsZero() {
		in["start_date"] = f.Since.UTC().Format(time.DateOnly)
	}
	if !f.Until.IsZero() {
		in["end_date"] = f.Until.UTC().Format(time.DateOnly)
	}
	return errors.Join(
		allInSet(call, "source", f.Source, SourceRule, SourceIOC, SourceVirusTotal, SourceIBMXForce, SourceAlienVault),
		allInSet(call, "severity", severity, AlertInfo, AlertLow, AlertMedium, AlertHigh, AlertCritical),
		allInSet(call, "verdict", f.Verdict, VerdictTruePositive, VerdictFalsePositive, VerdictOpen),
		numbers(call, "rule id", f.RuleID),
		f.days(call),
		s.writeWindow(in, f.Window),
	)
}

func (f AlertFilter) days(call string) error {
	switch {
	case !f.Until.IsZero() && f.Since.IsZero():
		return fmt.Errorf("%s: %w: until needs since", call, ErrInvalid)
	case f.Until.Before(f.Since) && !f.Until.IsZero():
		return fmt.Errorf("%s: %w: until lies before since", call, ErrInvalid)
	case !f.Since.IsZero() && f.Window != nil:
		return fmt.Errorf("%s: %w: since and a window exclude each other", call, ErrInvalid)
	}
	return nil
}

// numbers refuses a comma list that holds anything but whole numbers.
func numbers(call, argument, list string) error {
	if list == "" {
		return nil
	}
	for word := range strings.SplitSeq(list, ",") {
		if _, err := strconv.ParseUint(strings.TrimSpace(word), 10, 63); err != nil {
			return fmt.Errorf("%s: %w: %s %q is not a whole number", call, ErrInvalid, argument, clip(word, 32))
		}
	}
	return nil
}

// knownHosts makes sure that every host of a comma list exists. Some calls take an
// unknown one for all hosts.
func (s *AlertsService) knownHosts(ctx context.Context, call, list string) error {
	if list == "" {
		return nil
	}
	for identifier := range strings.SplitSeq(list, ",") {
		identifier = strings.TrimSpace(identifier)
		host, err := s.c.Hosts.Get(ctx, identifier)
		if err != nil {
			return fmt.Errorf("%s: look for the host: %w", call, err)
		}
		// The path takes the number of a host as well, which the call does not.
		if !strings.EqualFold(host.Identifier, identifier) {
			return fmt.Errorf("%s: %w: no host has the identifier %q", call, ErrNotFound, clip(identifier, 80))
		}
	}
	return nil
}
