package sinks_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks"
	"github.com/erbridge/erbridge/sinks/sinksim"
	"github.com/erbridge/erbridge/sinks/sinktest"
)

// Whatever an attacker writes into an alert, a mail has the headers, parts and tags
// that it has without it, a card for Teams shows text and links to a page on the web,
// and in the Markdown for TheHive all of it is code.
func FuzzPeople(f *testing.F) {
	for _, seed := range []string{
		"", "plain", "a\r\nBcc: x@example.com\r\n\r\nbody", "</pre><script>alert(1)</script>", "``` `` ` [a](b) *c*", "=?utf-8?q?x?=", "=?utf-8?q?a=0D=0ABcc=3A?= =?ujf-8?b?x?=", "\x00\x1b[31m\u202e\xff\xfe",
		".\r\n.\r\nQUIT\r\n", "--\r\n-- \r\n--boundary--", "<at>x</at> {{DATE()}}", strings.Repeat("ü\n", 3000), "https://evil.example/ javascript:alert(1)",
	} {
		f.Add(seed, seed, seed)
		f.Add("er-1", "WIN-07", seed)
	}
	settings := emailSettings("mail.example.org", "")
	mail, err := sinks.Open("mail", "email", settings, sinks.Env{Version: "1"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, id, name, text string) {
		ev := sinktest.Event(1)
		ev.ID, ev.Alert.ID, ev.Alert.Host.Name, ev.Alert.Rule.Name, ev.Alert.Severity = id, id, name, name, soar.Severity(name)
		ev.Alert.Comment, ev.Alert.URL = text, text
		for _, column := range []string{"cmdline", "path", "target_path", "domain_name", name} {
			ev.Alert.Event[column] = text
		}
		step, note, digest := ev, ev, ev
		step.Type, step.Outcome = soar.EventStepFinished, &soar.Outcome{Action: "host.contain", State: soar.StepFailed, Target: name, Summary: text, Error: text}
		note.Type, note.Text = soar.EventNotification, text
		digest.Type, digest.Alert, digest.Text = soar.EventDigest, nil, text
		for _, ev := range []soar.Event{ev, step, note, digest} {
			checkMail(t, mail, &ev)
			checkCard(t, &ev)
			if outside := outsideCode(sinks.TheHiveText(&ev)); strings.ContainsAny(outside, "<>[]#!*_`&\\") {
				t.Errorf("markup outside of code: %q", outside)
			}
		}
	})
}

func checkMail(t *testing.T, s sinks.Sink, ev *soar.Event) {
	t.Helper()
	data, err := sinks.EmailMessage(s, ev)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(data), "\r\n") {
		if len(line) > 998 || strings.ContainsAny(line, "\r\n\x00") {
			t.Fatalf("a line of %d bytes that SMTP has no place for: %q", len(line), line)
		}
	}
	m := parseMail(t, data)
	for name, values := range m.header {
		if !slices.Contains(mailHeaders, name) || len(values) != 1 {
			t.Errorf("header %s: %q", name, values)
		}
	}
	if m.text == "" || m.html == "" || !strings.HasPrefix(strings.TrimPrefix(m.subject, "Re: "), "[erbridge]") {
		t.Errorf("subject %q, text of %d bytes, HTML of %d", m.subject, len(m.text), len(m.html))
	}
	for line := range strings.Lines(m.text) {
		if name, _, ok := strings.Cut(line, ":"); ok && name == "Console" && !strings.HasPrefix(line, "Console: http") {
			t.Errorf("a line that looks like one of ours: %q", line)
		}
	}
	tags := []string{"html", "head", "meta", "title", "body", "table", "tr", "td", "th", "h1", "p", "pre", "a"}
	attributes := []string{"lang", "charset", "name", "content", "style", "role", "width", "cellpadding", "cellspacing", "scope", "align", "valign", "href"}
	for z := html.NewTokenizer(strings.NewReader(m.html)); z.Next() != html.ErrorToken; {
		token := z.Token()
		switch token.Type {
		case html.CommentToken:
			t.Errorf("a comment %q", token.Data)
		case html.StartTagToken, html.SelfClosingTagToken:
			if !slices.Contains(tags, token.Data) {
				t.Errorf("a <%s> in %s", token.Data, m.html)
			}
			for _, a := range token.Attr {
				if !slices.Contains(attributes, a.Key) || a.Key == "href" && !onTheWeb(a.Val) {
					t.Errorf("attribute %s=%q", a.Key, a.Val)
				}
			}
		}
	}
}

func checkCard(t *testing.T, ev *soar.Event) {
	t.Helper()
	data, err := sinks.TeamsMessage(ev)
	if err != nil {
		t.Fatal(err)
	}
	card, err := sinksim.ReadTeamsCard(data)
	if err != nil || len(data) > 28<<10 {
		t.Fatalf("card of %d bytes: %v", len(data), err)
	}
	for _, link := range card.Links {
		if !onTheWeb(link) {
			t.Errorf("link %q", link)
		}
	}
}

func onTheWeb(link string) bool {
	u, err := url.Parse(link)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil
}
