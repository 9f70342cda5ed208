package format

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/erbridge/erbridge/internal/soar"
)

// maxSummaryRunes bounds Summary; the parts that come from outside are cut.
const (
	maxSummaryRunes = 400
	maxDetailRunes  = 160
)

// Summary says in one line of plain text what an event is about. It has no
// hidden characters and at most 400 characters, and is never empty.
func Summary(ev *soar.Event) string {
	var parts []string
	add := func(texts ...string) { parts = append(parts, texts...) }
	switch ev.Type {
	case soar.EventAlertReceived, soar.EventAlertUpdated:
		if ev.Alert == nil {
			break
		}
		add(ev.Alert.Title())
		if ev.Alert.Host.Name != "" {
			add("on", ev.Alert.Host.Name)
		}
		if words := ChangeWords(ev.Change); words != "" && ev.Type == soar.EventAlertUpdated {
			add(words)
		} else if ev.Type == soar.EventAlertUpdated {
			add("is", ev.Alert.Status)
			if ev.Alert.Verdict != "" {
				add("(" + strings.ReplaceAll(ev.Alert.Verdict, "_", " ") + ")")
			}
		} else if detail := detailOf(ev.Alert); detail != "" {
			parts[len(parts)-1] += ":"
			add(clip(detail, maxDetailRunes))
		}
	case soar.EventAlertGrouped:
		if ev.Group == nil {
			break
		}
		add(strconv.Itoa(ev.Group.Count), "alerts like")
		if ev.Alert != nil {
			add(ev.Alert.Title())
		} else {
			add(ev.Group.Head)
		}
		if ev.Group.Hosts > 1 {
			add("on", strconv.Itoa(ev.Group.Hosts), "hosts")
		} else if ev.Alert != nil && ev.Alert.Host.Name != "" {
			add("on", ev.Alert.Host.Name)
		}
	case soar.EventTelemetry:
		if ev.Row == nil {
			break
		}
		add(first(ev.Row.Query, "a query"))
		if ev.Row.Action != "" {
			add(ev.Row.Action)
		}
		if ev.Row.Host.Name != "" {
			add("on", ev.Row.Host.Name)
		}
		if detail := detailOf(rowAlert(ev.Row)); detail != "" {
			parts[len(parts)-1] += ":"
			add(clip(detail, maxDetailRunes))
		}
	case soar.EventStepFinished:
		if ev.Outcome == nil {
			break
		}
		add(ev.Outcome.Action, string(ev.Outcome.State))
		if ev.Alert != nil && ev.Alert.Host.Name != "" {
			add("on", ev.Alert.Host.Name)
		} else if ev.Outcome.Target != "" {
			add("on", ev.Outcome.Target)
		}
		what, why := ev.Outcome.Summary, ev.Outcome.Error
		switch { // the summary of a failure says what was tried, its error why it failed
		case strings.Contains(why, what):
			what = ""
		case strings.Contains(what, why):
			why = ""
		}
		for _, detail := range []string{what, why} {
			if detail != "" {
				parts[len(parts)-1] += ":"
				add(clip(detail, maxDetailRunes))
			}
		}
	case soar.EventRunStarted, soar.EventRunFinished:
		if ev.Run == nil {
			break
		}
		add("playbook", ev.Run.Playbook)
		if ev.Type == soar.EventRunStarted {
			add("started")
		} else {
			add("ended", string(ev.Run.State))
		}
		if ev.Alert != nil {
			add("for", ev.Alert.Title())
			if ev.Alert.Host.Name != "" {
				add("on", ev.Alert.Host.Name)
			}
		}
		if ev.Run.Error != "" {
			parts[len(parts)-1] += ":"
			add(clip(ev.Run.Error, maxDetailRunes))
		}
	}
	if len(parts) == 0 {
		add(ev.Text)
	}
	return clip(first(plainLine(strings.Join(parts, " ")), string(ev.Type), "event"), maxSummaryRunes)
}

// detailOf is the most telling column of an alert.
func detailOf(a *soar.Alert) string {
	f := fieldsOf(a)
	if f.indicator.value != "" {
		return f.indicator.value
	}
	switch {
	case f.kind == kindDNS && f.dns.name != "":
		return f.dns.name
	case f.kind.file() && f.file.path != "":
		return f.file.path
	case f.kind.registry():
		return f.registry.path
	case f.kind.socket() && f.net.remote.addr.IsValid():
		return f.net.remote.String()
	case f.kind == kindLibrary, f.kind == kindDriver:
		return f.file.path
	}
	return first(f.url, f.proc.cmdline, f.proc.path)
}

func (e endpoint) String() string {
	switch {
	case !e.addr.IsValid():
		return ""
	case !e.port.ok:
		return e.addr.String()
	case e.addr.Is6():
		return "[" + e.addr.String() + "]:" + e.port.String()
	}
	return e.addr.String() + ":" + e.port.String()
}

// plainLine makes text valid UTF-8 on one line that reads as it stands: every
// control character becomes a space, as do those that turn the direction of writing
// or have no width, and the separators that some viewers break lines at.
func plainLine(text string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if soar.IsHidden(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD")))
}

// clip cuts text to that many characters, the mark of the cut included.
func clip(text string, limit int) string {
	if len(text) <= limit || utf8.RuneCountInString(text) <= limit {
		return text
	}
	n := 0
	for i := range text {
		if n++; n == limit {
			return text[:i] + "…"
		}
	}
	return text
}
