package sinks

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks/format"
)

// Bounds of a notice, in characters. All of it together is below 12,000.
const (
	noticeTitleMax = 250
	noticeFactMax  = 300
	noticeTextMax  = 4000
	noticeCodeMax  = 2000
	noticeLinkMax  = 2000 // bytes
)

// notice is an event in words for people: what mails, cards and pages are made of.
// Hidden characters are spelled out in it, addresses are defanged, and all texts are
// bounded. They are not escaped: each receiver has a markup of its own.
type notice struct {
	Severity soar.Severity // of the alert; empty where there is none
	Title    string        // one line, never empty
	Text     string        // lines
	Facts    []fact        // one line each
	Code     string        // the command line, as lines
	Link     string        // the alert in the server's console, http or https; can be empty
	Ref      string        // the alert's reference; can be empty
}

type fact struct{ Name, Value string }

func (n *notice) fact(name, value string) {
	if value = shownLine(value, noticeFactMax); value != "" {
		n.Facts = append(n.Facts, fact{shownLine(name, 100), value})
	}
}

// noticeOf puts an event into words.
func noticeOf(ev *soar.Event) notice {
	var n notice
	title := format.Summary(ev)
	a := ev.Alert
	if a != nil {
		n.Severity, n.Ref, n.Link = a.Severity, shownLine(a.Ref(), 200), consoleLink(a.URL)
	}
	switch {
	case ev.Type == soar.EventAlertReceived && a != nil:
		title = strings.ToUpper(string(a.Severity)) + ": " + onHost(a)
		n.alert(a)
	case ev.Type == soar.EventAlertUpdated && a != nil:
		n.fact("Status", alertStatus(a))
		n.fact("Comment", a.Comment)
	case ev.Group != nil:
		g, far := ev.Group, "so far"
		if g.Closed {
			far = "in all"
		}
		title = fmt.Sprintf("%d alerts %s like %s", g.Count, far, g.Head)
		if a != nil {
			title = fmt.Sprintf("%s: %d alerts %s like this: %s", strings.ToUpper(string(a.Severity)), g.Count, far, a.Title())
		}
		n.group(g) // says what ev.Text says
	case ev.Type == soar.EventDigest:
		title, n.Text, _ = strings.Cut(ev.Text, "\n")
		title = "Digest: " + title
	case ev.Approval != nil:
		title, n.Text = ev.Approval.Text, ev.Text
		n.approval(ev.Approval)
	case ev.Outcome != nil, ev.Run != nil && ev.Undo == nil:
		n.outcome(ev)
	case ev.Type == soar.EventTrouble:
		title, n.Text = "erbridge needs attention", ev.Text
	case ev.Type == soar.EventNotification && strings.Contains(ev.Text, "\n"):
		title, n.Text, _ = strings.Cut(ev.Text, "\n")
	}
	if ev.Type != soar.EventAlertReceived && a != nil {
		n.fact("Alert", onHost(a))
	}
	n.Title = shownLine(title, noticeTitleMax)
	if n.Title == "" {
		n.Title = shownLine(string(ev.Type), noticeTitleMax)
	}
	if n.Text = strings.TrimSpace(shownLines(n.Text, noticeTextMax)); strings.Contains(n.Title, n.Text) {
		n.Text = ""
	}
	return n
}

// onHost names an alert and where it happened.
func onHost(a *soar.Alert) string {
	if host := hostName(a); host != "" {
		return a.Title() + " on " + host
	}
	return a.Title()
}

func hostName(a *soar.Alert) string {
	if a.Host.Name != "" {
		return a.Host.Name
	}
	return a.Host.Identifier
}

func (n *notice) alert(a *soar.Alert) {
	n.fact("Host", hostName(a))
	n.fact("Status", alertStatus(a))
	n.fact("Platform", strings.TrimSpace(a.Host.Platform+" "+a.Host.OSVersion))
	n.fact("Address", a.Host.IP)
	n.fact("User", firstOf(a.Event, "owner_uid", "uid"))
	n.fact("Process", firstOf(a.Event, "path", "process_name", "src_path"))
	n.fact("Target", firstOf(a.Event, "target_path", "target_name", "domain_name", "url", "remote_address", "remote_addresss"))
	n.fact("SHA-256", a.Event["sha256"])
	if a.Rule != nil {
		n.fact("ATT&CK", strings.Join(slices.Concat(a.Rule.Techniques, a.Rule.Tactics), ", "))
	}
	n.fact("Happened", shownTime(a.EventTime))
	if a.EventCount > 1 {
		n.fact("Events", fmt.Sprint(a.EventCount))
	}
	if a.Backfill {
		n.fact("Note", "the alert is older than erbridge")
	}
	n.Code = shownLines(a.Event["cmdline"], noticeCodeMax)
}

func (n *notice) group(g *soar.Group) {
	n.fact("Alerts", fmt.Sprint(g.Count))
	hosts := fmt.Sprint(g.Hosts)
	if len(g.Names) > 0 {
		hosts += ": " + strings.Join(g.Names, ", ")
		if g.Hosts > len(g.Names) {
			hosts += ", …"
		}
	}
	n.fact("Hosts", hosts)
	n.fact("From", shownTime(g.First))
	n.fact("To", shownTime(g.Last))
	n.fact("Runs", tally(g.Runs))
	n.fact("Steps", tally(g.Steps))
}

// tally is "done: 3, failed: 1", in the order of the words.
func tally(counts map[string]int) string {
	var parts []string
	for word, count := range counts {
		parts = append(parts, fmt.Sprintf("%s: %d", word, count))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

func (n *notice) approval(a *soar.Approval) {
	n.fact("State", string(a.State))
	n.fact("Playbook", a.Playbook)
	n.fact("Action", a.Action)
	n.fact("Hosts", strings.Join(a.Hosts, ", "))
	if a.State == soar.ApprovalWaiting {
		n.fact("Who may decide", strings.Join(a.From, ", "))
		n.fact("Until", shownTime(a.Expires))
	}
	for _, v := range a.Votes {
		word := "agreed"
		if !v.Agree {
			word = "denied"
		}
		n.fact(v.By, strings.TrimSuffix(word+": "+v.Reason, ": "))
	}
	n.fact("Why", a.Why)
	n.fact("Approval", a.ID)
}

func (n *notice) outcome(ev *soar.Event) {
	if o := ev.Outcome; o != nil {
		n.fact("Action", o.Action)
		n.fact("Result", outcomeWord(o)+outcomeTook(o))
		if o.Target != "" {
			n.fact("Target", targetName(ev))
		}
		n.Text = outcomeDetail(o)
		n.fact("Step", o.Step)
	}
	if r := ev.Run; r != nil {
		n.fact("Playbook", r.Playbook)
		n.fact("Mode", string(r.Mode))
		n.fact("Run", r.ID.String())
		if n.Text == "" {
			n.Text = r.Error
		}
	}
}

// consoleLink is an address that a person may follow, or empty.
func consoleLink(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil || len(u.String()) > noticeLinkMax {
		return ""
	}
	return u.String()
}

func shownTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

// shownLine makes a text from outside fit for people to read on one line, of at most
// that many characters.
func shownLine(text string, limit int) string {
	return clipRunes(strings.Join(strings.Fields(shown(text, limit)), " "), limit)
}

// shownLines is shownLine for text that may have several lines.
func shownLines(text string, limit int) string { return clipRunes(shown(text, limit), limit) }

// shown cuts before it looks for addresses: what is cut off needs no work, and
// attackers choose how much there is.
func shown(text string, limit int) string { return defang(soar.Visible(clipRunes(text, limit))) }

// clipRunes cuts text to that many characters, the mark of the cut included.
func clipRunes(text string, limit int) string {
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
