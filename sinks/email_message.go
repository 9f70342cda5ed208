package sinks

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the templates
	"encoding/base64"
	"encoding/hex"
	"html/template"
	"strings"
	texttemplate "text/template"
	"unicode/utf8"

	gomail "github.com/wneessen/go-mail"

	"github.com/erbridge/erbridge/internal/soar"
)

var (
	//go:embed email.html
	emailHTML string
	//go:embed email.txt
	emailText string

	emailHTMLTemplate = template.Must(template.New("email.html").Parse(emailHTML))
	emailTextTemplate = texttemplate.Must(texttemplate.New("email.txt").Funcs(texttemplate.FuncMap{"indent": indent}).Parse(emailText))
)

// indent moves all lines of a text to the right: whatever an attacker puts into a
// command line, none of it stands where our own lines begin.
func indent(text string) string { return "  " + strings.ReplaceAll(text, "\n", "\n  ") }

// emailPage is what the templates see.
type emailPage struct {
	notice
	Color   string // of the line on the left
	Event   string
	Version string
}

// emailColors are those of severities, readable on white and on black.
var emailColors = map[soar.Severity]string{
	soar.SeverityCritical: "#b3001b", soar.SeverityHigh: "#d9480f", soar.SeverityMedium: "#c98a00", soar.SeverityLow: "#1c6fb8", soar.SeverityInfo: "#5c677d",
}

// message is the mail of an event. Header fields are set and encoded by the library,
// HTML is escaped by the template; nothing is put together from texts of an alert.
func (s *email) message(ev *soar.Event) ([]byte, error) {
	n := noticeOf(ev)
	page := emailPage{notice: n, Color: emailColors[n.Severity], Event: shownLine(ev.ID, 200), Version: s.version}
	if page.Color == "" {
		page.Color = emailColors[soar.SeverityInfo]
	}
	var text, html bytes.Buffer
	if err := emailTextTemplate.Execute(&text, page); err != nil {
		return nil, err
	}
	if err := emailHTMLTemplate.Execute(&html, page); err != nil {
		return nil, err
	}

	m := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	m.FromMailAddress(s.from)
	m.ToMailAddress(s.to...)
	if subject := s.subject(ev, n); strings.Contains(subject, "=?") {
		m.SetGenHeaderPreformatted(gomail.HeaderSubject, encodedWords(subject))
	} else {
		m.Subject(subject)
	}
	m.SetDateWithValue(s.now())
	own, head := s.messageIDs(ev)
	m.SetMessageIDWithValue(own)
	if head != "" && head != own { // RFC 5322, section 3.6.4
		m.SetGenHeader(gomail.HeaderInReplyTo, "<"+head+">")
		m.SetGenHeader(gomail.HeaderReferences, "<"+head+">")
	}
	// RFC 3834: no out-of-office notes, please. The second is how Exchange puts it.
	m.SetGenHeader("Auto-Submitted", "auto-generated")
	m.SetGenHeader("X-Auto-Response-Suppress", "All")
	m.SetGenHeader("X-Erbridge-Event", mailEventID(ev.ID))
	m.SetGenHeader("X-Erbridge-Type", string(ev.Type))
	if _, known := emailColors[n.Severity]; known {
		m.SetGenHeader("X-Erbridge-Severity", string(n.Severity))
	}
	if ev.Type == soar.EventTrouble || ev.Type == soar.EventApprovalRequested || ev.Type == soar.EventAlertReceived && n.Severity.AtLeast(soar.SeverityHigh) {
		m.SetImportance(gomail.ImportanceHigh)
	}
	m.SetBodyString(gomail.TypeTextPlain, text.String())
	m.AddAlternativeString(gomail.TypeTextHTML, html.String())
	var raw bytes.Buffer
	_, err := m.WriteTo(&raw)
	return raw.Bytes(), err
}

// subject of what happens to an alert is that of its first mail: programs that do not
// look at References put mails of one subject together.
func (s *email) subject(ev *soar.Event, n notice) string {
	title, reply := n.Title, ""
	switch ev.Type {
	case soar.EventAlertUpdated, soar.EventStepFinished, soar.EventRunStarted, soar.EventRunFinished, soar.EventUndoSoon:
		if ev.Alert != nil {
			title, reply = shownLine(strings.ToUpper(string(ev.Alert.Severity))+": "+onHost(ev.Alert), noticeTitleMax), "Re: "
		}
	}
	return reply + strings.TrimSpace(s.settings.SubjectPrefix+" "+title)
}

// encodedWords is a header's text with every character encoded (RFC 2047). The library
// leaves text of plain ASCII as it is, and with it what only looks encoded: a rule called
// =?utf-8?q?...?= would read as something else.
func encodedWords(text string) string {
	const most = 45 // bytes; as base64 with its frame 72, of the 75 that a word may have
	var words []string
	for len(text) > 0 {
		n := min(most, len(text))
		for n > 0 && n < len(text) && !utf8.RuneStart(text[n]) {
			n--
		}
		words = append(words, "=?utf-8?b?"+base64.StdEncoding.EncodeToString([]byte(text[:n]))+"?=")
		text = text[n:]
	}
	return strings.Join(words, "\r\n ")
}

// messageIDs are the Message-ID of an event's mail, and that of the mail which begins its
// thread; head is empty for one that stands alone. The same event has the same id, so
// that mail programs drop a repeat. The first mail of an alert has the id of the alert,
// which is all that later events know of it.
func (s *email) messageIDs(ev *soar.Event) (own, head string) {
	domain := "@" + s.from.Address[strings.LastIndexByte(s.from.Address, '@')+1:]
	ofAlert := func(ref string) string { return "er-" + mailToken(ref) + domain }
	switch {
	case ev.Group != nil:
		head = ofAlert(ev.Group.Head)
	case ev.Alert != nil:
		head = ofAlert(ev.Alert.Ref())
	}
	if ev.Type == soar.EventAlertReceived && ev.Alert != nil {
		return head, head
	}
	return "er-event-" + mailToken(ev.ID) + domain, head
}

// mailEventID is an event's id as a header shows it.
func mailEventID(id string) string {
	if len(id) > 200 || headerID(id) != id || strings.Contains(id, "=?") {
		return mailToken(id)
	}
	return id
}

// mailToken is an id as headers take it. What it has besides letters, digits and
// dashes is replaced, what is too long is cut, and both are told apart by a digest.
func mailToken(id string) string {
	const most = 100 // with the domain well below the 998 of a line
	safe := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_':
			return r
		}
		return '_'
	}, id)
	if safe != id || len(safe) > most || id == "" {
		sum := sha256.Sum256([]byte(id))
		safe = safe[:min(len(safe), most)] + "." + hex.EncodeToString(sum[:12])
	}
	return safe
}
