package sinks_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks"
	"github.com/erbridge/erbridge/sinks/sinksim"
	"github.com/erbridge/erbridge/sinks/sinktest"
)

const mailPassword = "pa55 w0rd-of-mail"

func emailSettings(address, caFile string) *sinks.EmailSettings {
	return &sinks.EmailSettings{
		Address: address, TLS: "starttls", Username: "erbridge", Password: soar.SecretValue(mailPassword),
		From: "ERbridge <erbridge@example.org>", To: []string{"soc@example.org"}, SubjectPrefix: "[erbridge]", Timeout: time.Minute,
		TLSSettings: sinks.TLSSettings{CAFile: caFile},
	}
}

func openEmail(t *testing.T, s *sinks.EmailSettings) sinks.Sink {
	t.Helper()
	sink, err := sinks.Open("mail", "email", s, sinks.Env{Version: "1", State: &sinktest.Memory{}})
	if err != nil {
		t.Fatal(err)
	}
	return sink
}

// startSMTP runs a server that wants STARTTLS and a login, unless change says
// otherwise, and opens a sink for it.
func startSMTP(t *testing.T, a *authority, change func(*sinksim.SMTP, *sinks.EmailSettings)) (*sinksim.SMTP, sinks.Sink) {
	t.Helper()
	sim := &sinksim.SMTP{TLS: a.server(t), Users: map[string]string{"erbridge": mailPassword}}
	settings := emailSettings("", a.file)
	if change != nil {
		change(sim, settings)
	}
	if err := sim.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		sim.Stop()
		for _, err := range sim.Broken() {
			t.Errorf("not as the protocol has it: %v", err)
		}
	})
	settings.Address = sim.Address()
	return sim, openEmail(t, settings)
}

// readMail takes a mail apart with the standard library, which knows nothing of ours.
type readMail struct {
	header     mail.Header
	subject    string
	text, html string
}

func parseMail(t *testing.T, data []byte) (m readMail) {
	t.Helper()
	parsed, err := mail.ReadMessage(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("%v in %q", err, data)
	}
	m.header = parsed.Header
	if m.subject, err = new(mime.WordDecoder).DecodeHeader(parsed.Header.Get("Subject")); err != nil {
		t.Fatal(err)
	}
	kind, parameters, err := mime.ParseMediaType(parsed.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("type %q: %v", kind, err)
	}
	for parts := multipart.NewReader(parsed.Body, parameters["boundary"]); ; {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return m
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := part.Header.Get("Content-Transfer-Encoding"); got != "quoted-printable" {
			t.Fatalf("encoding %q", got)
		}
		body, err := io.ReadAll(quotedprintable.NewReader(part))
		if err != nil {
			t.Fatal(err)
		}
		switch kind := part.Header.Get("Content-Type"); {
		case strings.HasPrefix(kind, "text/plain"):
			m.text = string(body)
		case strings.HasPrefix(kind, "text/html"):
			m.html = string(body)
		default:
			t.Errorf("a part of type %q", kind)
		}
	}
}

func TestEmailContract(t *testing.T) {
	a := newAuthority(t)
	for _, mode := range []string{"starttls", "implicit"} {
		t.Run(mode, func(t *testing.T) {
			var sim *sinksim.SMTP
			open := func(t *testing.T, change func(*sinksim.SMTP, *sinks.EmailSettings)) (s sinks.Sink) {
				sim, s = startSMTP(t, a, func(sim *sinksim.SMTP, s *sinks.EmailSettings) {
					sim.Implicit, s.TLS = mode == "implicit", mode
					if change != nil {
						change(sim, s)
					}
				})
				return s
			}
			says := func(command string, replies ...string) func(*testing.T) sinks.Sink {
				return func(t *testing.T) sinks.Sink {
					s := open(t, nil)
					sim.Reply(command, replies...)
					return s
				}
			}
			login := base64.StdEncoding.EncodeToString([]byte("\x00erbridge\x00" + mailPassword))
			sinktest.Run(t, sinktest.Harness{
				MaxBatch: 50,
				Secrets:  []string{mailPassword, login},
				Open:     func(t *testing.T, _ sinktest.Receiver) sinks.Sink { return open(t, nil) },
				Delivered: func(t *testing.T) (ids []string) {
					for _, m := range sim.Mails() {
						ids = append(ids, parseMail(t, m.Data).header.Get("X-Erbridge-Event"))
					}
					return ids
				},
				Answers: []sinktest.Answer{
					{Name: "taken", Want: sinktest.Delivered, Open: says("CONNECT")},
					{Name: "busy at the door", Want: sinktest.Transient, Open: says("CONNECT", "421 4.3.2 try later "+mailPassword)},
					{Name: "not for you", Want: sinktest.Config, Open: says("CONNECT", "554 5.7.1 no service for "+mailPassword)},
					{Name: "hangs up at the door", Want: sinktest.Transient, Open: says("CONNECT", "close")},
					{Name: "EHLO refused", Want: sinktest.Config, Open: says("EHLO", "550 5.7.1 what name is that")},
					{Name: "login refused", Want: sinktest.Config, Open: says("AUTH", "535 5.7.8 "+mailPassword+" "+login)},
					{Name: "login not now", Want: sinktest.Transient, Open: says("AUTH", "454 4.7.0 not now, "+mailPassword+" "+login)},
					{Name: "sender refused", Want: sinktest.Config, Open: says("MAIL", "550 5.7.1 not your address")},
					{Name: "sender not now", Want: sinktest.Transient, Open: says("MAIL", "451 4.3.0 later")},
					{Name: "recipient refused", Want: sinktest.Config, Open: says("RCPT soc@example.org", "550 5.1.1 nobody here")},
					{Name: "greylisted", Want: sinktest.Transient, Open: says("RCPT soc@example.org", "450 4.2.0 greylisted")},
					{Name: "DATA not now", Want: sinktest.Transient, Open: says("DATA", "451 4.3.0 later")},
					{Name: "content refused", Want: sinktest.Permanent, Open: says("CONTENT", "554 5.7.1 that is spam, "+mailPassword)},
					{Name: "content not now", Want: sinktest.Transient, Open: says("CONTENT", "452 4.3.1 no space")},
					{Name: "too large", Want: sinktest.TooLarge, Open: says("CONTENT", "552 5.3.4 too large")},
					{Name: "hangs up before the answer", Want: sinktest.Transient, Open: says("CONTENT", "lost")},
					{Name: "hangs up in between", Want: sinktest.Transient, Open: says("DATA", "close")},
				},
				Stuck: func(t *testing.T) (sinks.Sink, <-chan struct{}) {
					s := open(t, func(_ *sinksim.SMTP, s *sinks.EmailSettings) { s.Timeout = 24 * time.Hour })
					return s, sim.Hang("CONTENT")
				},
				Partial: says("CONTENT", "", "554 5.7.1 that is spam", "451 4.3.0 later"),
				Poison: func(t *testing.T, _ string) sinks.Sink {
					return says("CONTENT", "", "554 5.7.1 that is spam")(t) // er-2 is the second
				},
				WrongName: func(t *testing.T) sinks.Sink {
					return open(t, func(_ *sinksim.SMTP, s *sinks.EmailSettings) { s.ServerName = "another.example" })
				},
			})
		})
	}
}

// A stop does not wait for a server that hangs, wherever it hangs.
func TestEmailHeedsCancellation(t *testing.T) {
	a := newAuthority(t)
	for _, command := range []string{"CONNECT", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT soc@example.org", "DATA", "CONTENT"} {
		t.Run(command, func(t *testing.T) {
			sim, s := startSMTP(t, a, func(_ *sinksim.SMTP, s *sinks.EmailSettings) { s.Timeout = 24 * time.Hour })
			closeAfter(t, s)
			arrived := sim.Hang(command)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			result := make(chan error, 1)
			go func() { result <- s.Send(ctx, sinktest.Events(1)) }()
			<-arrived
			cancel()
			if err := <-result; sinktest.ClassOf(err) != sinktest.Transient {
				t.Errorf("error %v, want a transient one", err)
			}
		})
	}
}

func TestEmailCertificatesAndLogins(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	for _, tt := range []struct {
		name   string
		change func(*sinksim.SMTP, *sinks.EmailSettings)
		want   sinktest.Class
	}{
		{"LOGIN", func(sim *sinksim.SMTP, _ *sinks.EmailSettings) { sim.Auth = []string{"LOGIN"} }, sinktest.Delivered},
		{"no login known", func(sim *sinksim.SMTP, _ *sinks.EmailSettings) { sim.Auth = []string{"NTLM"} }, sinktest.Config},
		{"no login offered", func(sim *sinksim.SMTP, _ *sinks.EmailSettings) { sim.Users = nil }, sinktest.Config},
		{"no login set", func(_ *sinksim.SMTP, s *sinks.EmailSettings) { s.Username, s.Password = "", soar.Secret{} }, sinktest.Config},
		{"wrong password", func(_ *sinksim.SMTP, s *sinks.EmailSettings) { s.Password = soar.SecretValue("0ther-pa55") }, sinktest.Config},
		{"no STARTTLS", func(sim *sinksim.SMTP, _ *sinks.EmailSettings) { sim.TLS = nil }, sinktest.Config},
		{"unknown authority", func(sim *sinksim.SMTP, _ *sinks.EmailSettings) { sim.TLS = other.server(t) }, sinktest.Config},
		{"nothing asked for, on this host", func(sim *sinksim.SMTP, s *sinks.EmailSettings) {
			sim.TLS, sim.Users, s.TLS, s.Username, s.Password = nil, nil, "none", "", soar.Secret{}
		}, sinktest.Delivered},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sim, s := startSMTP(t, a, tt.change)
			err := closeAfter(t, s).Send(t.Context(), sinktest.Events(1))
			if got := sinktest.ClassOf(err); got != tt.want {
				t.Errorf("%s (%v), want %s", got, err, tt.want)
			}
			if err != nil && (strings.Contains(err.Error(), "0ther-pa55") || strings.Contains(err.Error(), mailPassword)) {
				t.Errorf("the password shows: %v", err)
			}
			if got := len(sim.Mails()); (got == 1) != (tt.want == sinktest.Delivered) {
				t.Errorf("%d mails", got)
			}
		})
	}
}

// One recipient that is refused keeps nothing from the others, and nobody gets a mail
// twice because of it.
func TestEmailRecipients(t *testing.T) {
	a := newAuthority(t)
	three := func(_ *sinksim.SMTP, s *sinks.EmailSettings) {
		s.To = []string{"a@example.org", "Bär <b@example.org>", "c@example.org"}
	}
	arrived := func(sim *sinksim.SMTP) map[string]int {
		n := map[string]int{}
		for _, m := range sim.Mails() {
			for _, to := range m.To {
				n[to[:1]]++
			}
		}
		return n
	}
	t.Run("for good", func(t *testing.T) {
		sim, s := startSMTP(t, a, three)
		sim.Reply("RCPT b@example.org", "550 5.1.1 gone")
		if err := closeAfter(t, s).Send(t.Context(), sinktest.Events(1)); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(arrived(sim)); got != "map[a:1 c:1]" {
			t.Errorf("arrived: %s", got)
		}
	})
	t.Run("for now", func(t *testing.T) {
		sim, s := startSMTP(t, a, three)
		sim.Reply("RCPT b@example.org", "450 4.2.0 greylisted")
		closeAfter(t, s)
		if err := s.Send(t.Context(), sinktest.Events(1)); sinktest.ClassOf(err) != sinktest.Transient {
			t.Fatalf("error %v, want a transient one", err)
		}
		if err := s.Send(t.Context(), sinktest.Events(1)); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(arrived(sim)); got != "map[a:1 b:1 c:1]" {
			t.Errorf("arrived: %s", got)
		}
	})
	t.Run("for now, and on and on", func(t *testing.T) {
		sim, s := startSMTP(t, a, three)
		sim.Reply("RCPT b@example.org", slices.Repeat([]string{"452 4.2.2 the mailbox is full"}, 20)...)
		closeAfter(t, s)
		tries := 1
		for ; s.Send(t.Context(), sinktest.Events(1)) != nil; tries++ {
			if tries > 10 {
				t.Fatal("a full mailbox holds up everything behind it")
			}
		}
		if got := fmt.Sprint(arrived(sim)); got != "map[a:1 c:1]" || tries < 2 {
			t.Errorf("after %d tries arrived: %s", tries, got)
		}
	})
	t.Run("all, of whom one for now", func(t *testing.T) {
		sim, s := startSMTP(t, a, three)
		for to, reply := range map[string]string{"a": "550 5.1.1 gone", "b": "450 4.2.0 later", "c": "550 5.1.1 gone"} {
			sim.Reply("RCPT "+to+"@example.org", reply)
		}
		if err := closeAfter(t, s).Send(t.Context(), sinktest.Events(1)); sinktest.ClassOf(err) != sinktest.Transient {
			t.Fatalf("error %v, want a transient one", err)
		}
	})
}

// mailHeaders are all that a mail of ours can have.
var mailHeaders = []string{
	"From", "To", "Subject", "Date", "Message-Id", "In-Reply-To", "References", "Auto-Submitted", "X-Auto-Response-Suppress", "Mime-Version", "Content-Type",
	"X-Erbridge-Event", "X-Erbridge-Type", "X-Erbridge-Severity", "Importance", "Priority", "X-Priority", "X-Msmail-Priority",
}

// Whatever stands in an alert, it cannot add a header or another part, and shows as
// the text that it is.
func TestEmailHostileText(t *testing.T) {
	a := newAuthority(t)
	sim, s := startSMTP(t, a, nil)
	closeAfter(t, s)
	nasty := "x\r\nBcc: evil@example.com\r\n\r\n<script>alert(1)</script><img src=x onerror=y> =?utf-8?q?forged?= \u202egnp.exe \x1b[31m https://evil.example/a?b ünï"
	ev := sinktest.Event(1)
	ev.ID = "er-1\r\nBcc: evil@example.com"
	ev.Alert.Rule.Name, ev.Alert.Host.Name, ev.Alert.Severity = nasty, nasty, soar.Severity(nasty)
	ev.Alert.Event["cmdline"] = nasty + "\r\n.\r\nQUIT\r\n" + "\nConsole: forged\rHost: forged" + strings.Repeat("ü", 5000)
	ev.Alert.URL = "javascript:alert(1)//\"><script>"
	note := soar.Event{ID: "n", Type: soar.EventNotification, Text: nasty, Alert: ev.Alert}
	if err := s.Send(t.Context(), []soar.Event{ev, note, sinktest.Hostile()}); err != nil {
		t.Fatal(err)
	}
	mails := sim.Mails()
	if len(mails) != 3 {
		t.Fatalf("%d mails, want 3", len(mails))
	}
	for _, m := range mails {
		got := parseMail(t, m.Data)
		for name, values := range got.header {
			if !slices.Contains(mailHeaders, name) || len(values) != 1 {
				t.Errorf("header %s: %q", name, values)
			}
		}
		if !slices.Equal(m.To, []string{"soc@example.org"}) {
			t.Errorf("recipients %q", m.To)
		}
		if strings.Contains(got.html, "<script") || strings.Contains(got.html, "<img") || strings.Contains(got.html, "javascript:") {
			t.Errorf("markup of an alert in %s", got.html)
		}
		for _, text := range []string{got.subject, got.text, got.html} {
			if strings.ContainsAny(text, "\x1b\u202e") || strings.Contains(text, "https://evil") {
				t.Errorf("hidden characters or an address that can be followed in %q", text)
			}
		}
		for line := range strings.Lines(got.text) {
			if strings.HasPrefix(line, "Console: forged") || strings.HasPrefix(line, "Host: forged") {
				t.Errorf("a line that looks like one of ours: %q", line)
			}
		}
		if !strings.HasPrefix(got.subject, "[erbridge]") || strings.ContainsAny(got.subject, "\r\n") {
			t.Errorf("subject %q", got.subject)
		}
	}
}

// The mails of one alert stand in one thread; a repeat has the same Message-ID.
func TestEmailThreads(t *testing.T) {
	a := newAuthority(t)
	sim, s := startSMTP(t, a, nil)
	head := sinktest.Event(1)
	head.ID = "alert.received/er-1" // as the store calls it
	updated := head
	updated.ID, updated.Type = "er-1-u", soar.EventAlertUpdated
	group := head
	group.ID, group.Type, group.Group = "g", soar.EventAlertGrouped, &soar.Group{Head: "er-1", Count: 7, Hosts: 2}
	odd := soar.Event{ID: "sink-paused-ü b\r\n" + strings.Repeat("x", 900), Type: soar.EventTrouble, At: head.At, Text: "look"}
	if err := closeAfter(t, s).Send(t.Context(), []soar.Event{head, outcome("er-1-s", soar.StepVerified), updated, group, head, odd}); err != nil {
		t.Fatal(err)
	}
	var got []readMail
	for _, m := range sim.Mails() {
		got = append(got, parseMail(t, m.Data))
	}
	const first = "<er-er-1@example.org>"
	for i, want := range []struct{ id, references string }{
		{first, ""}, {"<er-event-er-1-s@example.org>", first}, {"<er-event-er-1-u@example.org>", first}, {"<er-event-g@example.org>", first}, {first, ""},
	} {
		if id, references := got[i].header.Get("Message-Id"), got[i].header.Get("References"); id != want.id || references != want.references || got[i].header.Get("In-Reply-To") != references {
			t.Errorf("mail %d: id %q, references %q, want %q and %q", i, id, references, want.id, want.references)
		}
		if got[i].header.Get("Auto-Submitted") != "auto-generated" {
			t.Errorf("mail %d: Auto-Submitted %q", i, got[i].header.Get("Auto-Submitted"))
		}
	}
	if got[0].subject != "[erbridge] HIGH: Shadow copies deleted on WIN-07" || got[1].subject != "Re: "+got[0].subject {
		t.Errorf("subjects %q and %q", got[0].subject, got[1].subject)
	}
	if id := got[0].header.Get("X-Erbridge-Event"); id != head.ID {
		t.Errorf("event %q, want %q", id, head.ID)
	}
	if id := got[5].header.Get("Message-Id"); strings.ContainsAny(id, " ü\r\n") || len(id) > 200 {
		t.Errorf("id %q", id)
	}
	for _, want := range []string{"vssadmin delete shadows /all /quiet", "Host: WIN-07", "https://er.example.org/alerts/1"} {
		if !strings.Contains(got[0].text, want) {
			t.Errorf("no %q in the text:\n%s", want, got[0].text)
		}
	}
	if !strings.Contains(got[0].html, `href="https://er.example.org/alerts/1"`) {
		t.Errorf("no link in the HTML:\n%s", got[0].html)
	}
}

func TestEmailSettings(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*sinks.EmailSettings)
		want   string
	}{
		"plain text elsewhere": {func(s *sinks.EmailSettings) { s.TLS, s.Username, s.Password = "none", "", soar.Secret{} }, "allow_plain_text|only servers on this host"},
		"login without TLS":    {func(s *sinks.EmailSettings) { s.TLS, s.AllowPlainText = "none", true }, "no login without TLS"},
		"no recipient":         {func(s *sinks.EmailSettings) { s.To = nil }, "at least one recipient"},
		"injected sender":      {func(s *sinks.EmailSettings) { s.From = "a@example.org\r\nBcc: b@example.org" }, "no mail address"},
		"injected recipient":   {func(s *sinks.EmailSettings) { s.To = []string{"a@example.org>\r\nRCPT TO:<b@example.org"} }, "no mail address"},
		"injected name":        {func(s *sinks.EmailSettings) { s.Hello = "x\r\nQUIT" }, "host name"},
		"no password":          {func(s *sinks.EmailSettings) { s.Password = soar.Secret{} }, "go together"},
		"odd address":          {func(s *sinks.EmailSettings) { s.Address = "mail.example.org:587:1" }, "host:port"},
	} {
		t.Run(name, func(t *testing.T) {
			s := emailSettings("mail.example.org:587", "")
			tt.change(s)
			_, err := sinks.Open("mail", "email", s, sinks.Env{})
			ok := false
			for want := range strings.SplitSeq(tt.want, "|") {
				ok = ok || err != nil && strings.Contains(err.Error(), want)
			}
			if !errors.Is(err, sinks.ErrConfig) || !ok {
				t.Errorf("error %v, want ErrConfig about %q", err, tt.want)
			}
		})
	}
}

// What looks encoded in a name shows as it is.
func TestEmailSubjectThatLooksEncoded(t *testing.T) {
	a := newAuthority(t)
	sim, s := startSMTP(t, a, nil)
	ev := sinktest.Event(1)
	ev.Alert.Rule.Name = "=?utf-8?q?all_is_well=E2=80=AE?= =?x-unknown?b?Zm9yZ2Vk?= " + strings.Repeat("long ", 20) + "日本"
	if err := closeAfter(t, s).Send(t.Context(), []soar.Event{ev}); err != nil {
		t.Fatal(err)
	}
	got := parseMail(t, sim.Mails()[0].Data).subject
	if want := "[erbridge] HIGH: " + strings.TrimSpace(ev.Alert.Rule.Name) + " on WIN-07"; got != want {
		t.Errorf("subject\n got %q\nwant %q", got, want)
	}
}
