package sinks

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks/format"
)

// StdoutSettings configures a stdout sink.
type StdoutSettings struct {
	// The default is text, which is more than one line here: the story of each alert,
	// in colours. The other formats are one event on each line.
	FormatSettings `yaml:",inline"`

	// Color is auto (when standard output is a terminal and NO_COLOR is not set),
	// always or never. It concerns text only.
	Color string `yaml:"color" enum:"auto,always,never"`
}

// Check implements Checker.
func (s *StdoutSettings) Check(report func(setting, hint, format string, args ...any)) {
	s.checkFormat(report)
}

func init() {
	Types.Add("stdout", Type{
		Summary:  "Prints events to standard output.",
		Settings: &StdoutSettings{FormatSettings: FormatSettings{Format: "text"}, Color: "auto"},
		Example:  "type: stdout\nformat: json\n",
		MaxBatch: 256,
		Open: func(_ string, settings any, env Env) (Sink, error) {
			return NewStdout(os.Stdout, *settings.(*StdoutSettings), env.Version)
		},
	})
}

// NewStdout makes a stdout sink that writes elsewhere: tests, the demo. version is
// erbridge's own, for formats that name it. An error wraps ErrConfig.
func NewStdout(w io.Writer, s StdoutSettings, version string) (Sink, error) {
	k := &stdout{w: w}
	if s.Format != "text" && s.Format != "" {
		var err error
		if k.format, err = s.formatter(format.Options{Version: version}); err != nil {
			return nil, err
		}
	}
	color := s.Color == "always"
	if file, ok := w.(*os.File); ok && (s.Color == "auto" || s.Color == "") && os.Getenv("NO_COLOR") == "" {
		info, err := file.Stat()
		color = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	k.color = color
	return k, nil
}

type stdout struct {
	w      io.Writer
	format format.Formatter // nil tells stories
	color  bool
}

// Send writes the whole batch at once, so that lines of other writers do not
// come in between.
func (s *stdout) Send(_ context.Context, events []soar.Event) error {
	var out bytes.Buffer
	refused := map[int]error{}
	for i := range events {
		if s.format == nil {
			s.story(&out, &events[i])
			continue
		}
		line, err := s.format(&events[i])
		if err != nil {
			refused[i] = fmt.Errorf("%w: stdout: %w", ErrPermanent, err)
			continue
		}
		// No format leaves a control character in; a terminal is not the place to find
		// out that one does.
		out.WriteString(strings.ReplaceAll(soar.Visible(string(line)), "\n", " "))
		out.WriteByte('\n')
	}
	if _, err := s.w.Write(out.Bytes()); err != nil {
		return fmt.Errorf("stdout: %w", err)
	}
	return refusedAlone(refused, len(events))
}

// Close leaves standard output open; it belongs to the process.
func (s *stdout) Close() error { return nil }

// Colours of a terminal (ECMA-48, Select Graphic Rendition).
const (
	plainColor = "0"
	dim        = "2"
	red        = "31"
	boldRed    = "1;31"
	green      = "32"
	yellow     = "33"
	blue       = "34"
	cyan       = "36"
)

var severityColors = map[soar.Severity]string{
	soar.SeverityCritical: boldRed, soar.SeverityHigh: red, soar.SeverityMedium: yellow, soar.SeverityLow: blue, soar.SeverityInfo: dim,
}

// The widths of what stands in columns.
const (
	wordWidth = 13
	hostWidth = 14
	maxColumn = 300  // runes of any one text of an alert
	maxText   = 1000 // runes of what happened: nothing of an error is lost
)

// story writes an event as one line, and a second one where there is more to say.
func (s *stdout) story(out *bytes.Buffer, ev *soar.Event) {
	var ref, host string
	if ev.Alert != nil {
		ref, host = ev.Alert.Ref(), ev.Alert.Host.Name
	}
	switch {
	case ev.Type == soar.EventAlertReceived && ev.Alert != nil:
		a := ev.Alert
		s.line(out, ev.At, strings.ToUpper(string(a.Severity)), severityColors[a.Severity], host, a.Title(), ref)
		if what := whatHappened(a); what != "" {
			s.more(out, what)
		}
	case ev.Type == soar.EventAlertUpdated && ev.Alert != nil:
		s.line(out, ev.At, "updated", dim, host, describeUpdate(ev), ref)
	case ev.Type == soar.EventStepFinished && ev.Outcome != nil:
		o := ev.Outcome
		if o.Target != "" && host == "" {
			host = o.Target
		}
		text := o.Action
		if sink, queued := queuedFor(o); queued {
			text += " for " + sink
		} else if detail := outcomeDetail(o); detail != "" {
			text += ": " + detail
		}
		if o.Target != "" && o.Target != host && (ev.Alert == nil || o.Target != ev.Alert.Host.Identifier) {
			text += " on " + o.Target
		}
		s.line(out, ev.At, outcomeWord(o), stepColor(o.State), host, text+outcomeTook(o), ref)
	case (ev.Type == soar.EventRunFinished || ev.Type == soar.EventRunStarted) && ev.Run != nil:
		r := ev.Run
		text := r.Playbook
		if r.Mode == soar.ModeObserve {
			text += " (observe)"
		}
		word, color := "run "+string(r.State), runColor(r.State)
		if ev.Type == soar.EventRunStarted {
			word, color = "run start", dim
		}
		s.line(out, ev.At, word, color, host, text, ref)
		if r.Error != "" {
			s.more(out, r.Error)
		}
	default:
		word, color := string(ev.Type), cyan
		switch ev.Type {
		case soar.EventNotification:
			word = "notify"
		case soar.EventApprovalRequested:
			word, color = "APPROVAL", boldRed
		case soar.EventApprovalDecided:
			word = "approval"
		case soar.EventUndoSoon:
			word = "undo soon"
		case soar.EventTrouble:
			word, color = "TROUBLE", boldRed
		}
		s.line(out, ev.At, word, color, host, ev.Text, ref)
	}
}

func (s *stdout) line(out *bytes.Buffer, at time.Time, word, color, host, text, ref string) {
	out.WriteString(s.paint(dim, at.Format("15:04:05.000")))
	out.WriteString("  ")
	out.WriteString(s.paint(color, pad(printable(word, wordWidth), wordWidth)))
	out.WriteString("  ")
	if host != "" {
		out.WriteString(pad(printable(host, hostWidth), hostWidth))
		out.WriteString("  ")
	}
	out.WriteString(printable(text, maxText))
	if ref != "" {
		out.WriteString("  ")
		out.WriteString(s.paint(dim, printable(ref, maxColumn)))
	}
	out.WriteByte('\n')
}

func (s *stdout) more(out *bytes.Buffer, text string) {
	out.WriteString(strings.Repeat(" ", len("15:04:05.000")+2+wordWidth+2))
	out.WriteString(s.paint(dim, printable(text, maxColumn)))
	out.WriteByte('\n')
}

func (s *stdout) paint(color, text string) string {
	if !s.color || color == "" {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[" + plainColor + "m"
}

// whatHappened is the part of the event that says most.
func whatHappened(a *soar.Alert) string {
	for _, column := range []string{"cmdline", "target_path", "domain_name", "url", "remote_address", "target_name", "image_path", "path"} {
		if v := a.Event[column]; v != "" {
			return v
		}
	}
	return ""
}

func describeUpdate(ev *soar.Event) string {
	a := ev.Alert
	if words := format.ChangeWords(ev.Change); words != "" {
		return a.Title() + " " + words
	}
	text := a.Title() + ": " + a.Status
	if a.Verdict != "" {
		text += ", " + strings.ReplaceAll(a.Verdict, "_", " ")
	}
	if a.EventCount > 0 {
		text += ", " + strconv.Itoa(a.EventCount) + " events"
	}
	return text
}

func stepColor(state soar.StepState) string {
	switch {
	case state == soar.StepVerified, state == soar.StepExecuted:
		return green
	case state.OK():
		return dim
	case state == soar.StepUnknown:
		return boldRed
	}
	return red
}

func runColor(state soar.RunState) string {
	switch state {
	case soar.RunDone:
		return green
	case soar.RunFailed:
		return red
	case soar.RunUnknown:
		return boldRed
	}
	return dim
}

// roundTime is a duration for people.
func roundTime(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

func pad(text string, width int) string {
	if n := width - utf8.RuneCountInString(text); n > 0 {
		return text + strings.Repeat(" ", n)
	}
	return text
}

// printable makes text from outside safe for a terminal and keeps it on one
// line: whatever does not simply print (control characters, escape sequences,
// characters that turn the direction of writing or have no width) shows as its
// escape. Attackers choose command lines and file names.
func printable(text string, limit int) string {
	var out strings.Builder
	n := 0
	for _, r := range text {
		if n++; n > limit {
			out.WriteRune('…')
			break
		}
		if unicode.IsPrint(r) { // false for U+2028, tabs and all but the plain space
			out.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRuneToASCII(r)
		out.WriteString(quoted[1 : len(quoted)-1])
	}
	return out.String()
}
