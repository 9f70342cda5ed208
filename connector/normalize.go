package connector

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// Normalize makes the alert that the rest of erbridge speaks of. server is the
// configured name of the server and console the URL of its web console, empty for
// no links. host and rule may be nil; what they know is merged in. It never fails:
// what cannot be read is left out.
func Normalize(server, console string, a Alert, host *Host, rule *Rule) soar.Alert {
	out := soar.Alert{
		Server:       server,
		ID:           strconv.FormatInt(a.ID, 10),
		Source:       strings.ToLower(strings.TrimSpace(a.Source)), // IOC and ioc are one
		Type:         a.Type,
		SeverityText: a.Severity,
		Status:       normalStatus(a.Status),
		Verdict:      normalVerdict(a.Verdict),
		Comment:      a.Comment,
		CreatedAt:    a.CreatedAt,
		UpdatedAt:    a.UpdatedAt,
		QueryName:    a.QueryName,
		ResultID:     a.ResultLogUID,
		Event:        a.Columns,
		Intel:        a.Intel,
		URL:          alertURL(console, a.ID),
	}
	out.Severity, _ = soar.ParseSeverity(a.Severity) // an unknown word is kept
	if out.Event == nil {
		out.Event = map[string]string{}
	}
	if a.EventCount != nil {
		out.EventCount = *a.EventCount
	}
	if out.EventTime = EventTime(a.Columns); out.EventTime.IsZero() {
		out.EventTime = a.CreatedAt
	}
	if out.CreatedAt.IsZero() {
		out.CreatedAt = out.EventTime
	}

	if host != nil {
		out.Host = NormalizeHost(*host)
	}
	if a.NodeID != 0 {
		out.Host.ID = a.NodeID
	}
	if a.Hostname != "" {
		out.Host.Name = a.Hostname
	}
	if out.Host.Platform == "" {
		out.Host.Platform = strings.ToLower(a.Platform)
	}

	if rule != nil {
		out.Rule = new(NormalizeRule(*rule))
	}
	if a.RuleID != 0 || a.RuleName != "" {
		if out.Rule == nil {
			out.Rule = &soar.Rule{}
		}
		out.Rule.ID = a.RuleID
		if a.RuleName != "" {
			out.Rule.Name = a.RuleName
		}
	}
	return out
}

// normalStatus makes open of everything but resolved: null counts as open, and an
// unknown word shall not hide an alert.
func normalStatus(text string) string {
	if strings.EqualFold(strings.TrimSpace(text), soar.StatusResolved) {
		return soar.StatusResolved
	}
	return soar.StatusOpen
}

// normalVerdict reads a verdict: TRUE POSITIVE in list and detail of release 4.0,
// true_positive in filters, 1 and 2 in its exports.
func normalVerdict(text string) string {
	switch strings.ReplaceAll(strings.ToLower(strings.TrimSpace(text)), " ", "_") {
	case soar.VerdictTruePositive, "1":
		return soar.VerdictTruePositive
	case soar.VerdictFalsePositive, "2":
		return soar.VerdictFalsePositive
	}
	return ""
}

// EventTime is when an event happened by its columns: time, else utc_time; zero
// if neither can be read.
func EventTime(columns map[string]string) time.Time {
	for _, name := range []string{"time", "utc_time"} {
		text := columns[name]
		if text == "" || text == "0" {
			continue
		}
		if t, err := ParseTime(text); err == nil {
			return t
		}
	}
	return time.Time{}
}

func alertURL(console string, id int64) string {
	if console == "" || id == 0 || id >= leastDerivedID {
		return ""
	}
	return strings.TrimRight(console, "/") + "/alerts/" + strconv.FormatInt(id, 10)
}

// NormalizeHost makes the host that the rest of erbridge speaks of.
func NormalizeHost(h Host) soar.Host {
	out := soar.Host{
		ID: h.ID, Identifier: h.Identifier, Name: h.Name,
		Platform: strings.ToLower(h.Platform), OS: h.OSName, OSVersion: h.OSVersion,
		MAC: h.MAC, Tags: h.Tags, Online: h.Online, LastSeen: h.LastCheckin,
	}
	// An IPv4 address in IPv6 form would look like another address to a reader.
	if ip, err := netip.ParseAddr(strings.TrimSpace(h.LastIP)); err == nil {
		out.IP = ip.Unmap().String()
	}
	// The list of release 2.1.2 has the platform as the name of the OS.
	if out.Platform == "" {
		switch name := strings.ToLower(h.OSName); {
		case strings.Contains(name, "windows"):
			out.Platform = "windows"
		case strings.Contains(name, "darwin"), strings.Contains(name, "mac os"), strings.Contains(name, "macos"):
			out.Platform = "darwin"
		default:
			out.Platform = name
		}
	}
	return out
}

// NormalizeRule makes the rule that the rest of erbridge speaks of.
func NormalizeRule(r Rule) soar.Rule {
	return soar.Rule{ID: r.ID, Name: r.Name, Description: r.Description, Techniques: r.Techniques, Tactics: r.Tactics}
}
