package soar

import "strings"

// Severity says how bad an alert is. The five words are the server's own from
// release 4.0 on, in lower case; "warning" of older servers reads as medium.
type Severity string

// The severities, from least to worst.
const (
	SeverityInfo     Severity = "info"
	SeverityLow      Severity = "low"
	SeverityMedium   Severity = "medium"
	SeverityHigh     Severity = "high"
	SeverityCritical Severity = "critical"
)

var severityRanks = map[Severity]int{
	SeverityInfo: 1, SeverityLow: 2, SeverityMedium: 3, SeverityHigh: 4, SeverityCritical: 5,
}

// ParseSeverity reads a severity in any case. An empty text is info, because the
// server sends null for rules that have none. An unknown word is returned in
// lower case with false, and ranks as medium.
func ParseSeverity(text string) (Severity, bool) {
	s := Severity(strings.ToLower(strings.TrimSpace(text)))
	switch s {
	case "":
		return SeverityInfo, true
	case "warning":
		return SeverityMedium, true
	}
	_, ok := severityRanks[s]
	return s, ok
}

// Rank orders severities: 1 info to 5 critical. Unknown words rank as medium,
// so that a word of a later release is neither hidden nor blown up.
func (s Severity) Rank() int {
	if r, ok := severityRanks[s]; ok {
		return r
	}
	return severityRanks[SeverityMedium]
}

// AtLeast reports whether s is as bad as other or worse.
func (s Severity) AtLeast(other Severity) bool { return s.Rank() >= other.Rank() }
