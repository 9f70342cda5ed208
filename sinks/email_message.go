package sinks

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the templates
	"encoding/hex"
	"html/template"
	"strings"
	texttemplate "text/template"

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
	m.Subject(s.subject(ev, n))
	m.SetDateWithValue(s.now())
	m.SetMessageIDWithValue(s.messageID(ev.ID))
	if thread := threadOf(ev); thread != "" && thread != ev.ID {
		// RFC 5322, section 3.6.4: the mail of the alert begins the thread.
		head := "<" + s.messageID(thread) + ">"
		m.SetGenHeader(gomail.HeaderInReplyTo, head)
		m.SetGenHeader(gomail.HeaderReferences, head)
	}
	// RFC 3834: no out-of-office notes, please. The second is how Exchange puts it.
	m.SetGenHeader("Auto-Submitted", "auto-generated")
	m.SetGenHeader("X-Auto-Response-Suppress", "All")
	m.SetGenHeader("X-Erbridge-Event", headerID(ev.ID))
	m.SetGenHeader("X-Erbridge-Type", headerID(string(ev.Type)))
	if n.Severity != "" {
		m.SetGenHeader("X-Erbridge-Severity", headerID(string(n.Severity)))
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

// threadOf is the id of the event whose mail an event's mail belongs under; empty for
// one that stands alone.
func threadOf(ev *soar.Event) string {
	switch {
	case ev.Group != nil:
		return ev.Group.Head
	case ev.Alert != nil:
		return ev.Alert.Ref() // which is the id of alert.received
	}
	return ""
}

// messageID is the same for the same event, so that mail programs drop a repeat. What
// an id has besides letters, digits, dots and dashes is replaced, and told apart by a
// digest.
func (s *email) messageID(eventID string) string {
	const most = 100 // together with the domain well below the 998 of a line
	safe := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_':
			return r
		}
		return '_'
	}, eventID)
	if safe != eventID || len(safe) > most {
		sum := sha256.Sum256([]byte(eventID))
		safe = safe[:min(len(safe), most)] + "." + hex.EncodeToString(sum[:12])
	}
	domain := s.from.Address[strings.LastIndexByte(s.from.Address, '@')+1:]
	return "er-" + safe + "@" + domain
}
