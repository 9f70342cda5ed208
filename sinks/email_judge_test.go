package sinks_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks/sinktest"
)

// judgedMail is what mailparser, which is not ours, understood.
type judgedMail struct {
	Secure   bool
	Envelope struct {
		From string
		To   []string
	}
	Subject string
	From,
	To []struct{ Address, Name string }
	MessageID   string
	References  any
	Headers     []string
	Text, HTML  string
	Attachments int
}

// A mail server and a parser of others take our mails, and find in them what we meant.
func TestEmailJudge(t *testing.T) {
	a := newAuthority(t)
	port, said := mailJudge(t, a, mailPassword, "")
	settings := emailSettings(fmt.Sprintf("127.0.0.1:%d", port), a.file)
	settings.From, settings.To = `"Ürbridge, SOC" <erbridge@example.org>`, []string{"soc@example.org", `Åsa "the boss" <asa@example.org>`}
	sink := closeAfter(t, openEmail(t, settings))
	nasty := sinktest.Event(2)
	nasty.Alert.Rule.Name = "x\r\nBcc: evil@example.com\r\n\r\n<script>alert(1)</script> =?utf-8?q?forged?= ünï 日本 " + strings.Repeat("long ", 40)
	nasty.Alert.Event["cmdline"] = "a && b > c \"d\" <img src=x>\r\n.\r\nsecond line ünï " + strings.Repeat("ü", 1500)
	digest := soar.Event{ID: "d", Type: soar.EventDigest, At: nasty.At, Text: "12 alerts since 08:00\nhigh: 2\nmedium: 10\n\nmost: Shadow copies deleted (9)"}
	events := []soar.Event{sinktest.Event(1), nasty, outcome("er-1-s", soar.StepVerified), digest}
	if err := sink.Send(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	var got []judgedMail
	for range events {
		var m judgedMail
		if err := said.Decode(&m); err != nil {
			t.Fatal(err)
		}
		got = append(got, m)
		if !m.Secure || m.Attachments != 0 || slices.Contains(m.Headers, "bcc") || m.Envelope.From != "erbridge@example.org" ||
			!slices.Equal(m.Envelope.To, []string{"soc@example.org", "asa@example.org"}) {
			t.Errorf("mail %+v", m)
		}
		if len(m.From) != 1 || m.From[0].Name != "Ürbridge, SOC" || len(m.To) != 2 || m.To[1].Name != `Åsa the boss` && m.To[1].Name != `Åsa "the boss"` {
			t.Errorf("from %+v, to %+v", m.From, m.To)
		}
	}
	if m := got[0]; m.Subject != "[erbridge] HIGH: Shadow copies deleted on WIN-07" || m.MessageID != "<er-er-1@example.org>" {
		t.Errorf("subject %q, id %q", m.Subject, m.MessageID)
	}
	if m := got[1]; !strings.Contains(m.Subject, "<script>alert(1)</script> =?utf-8?q?forged?= ünï 日本 long") ||
		!strings.Contains(m.HTML, "&lt;script&gt;") || strings.Contains(m.HTML, "<script>") || !strings.Contains(m.Text, `a && b > c "d" <img src=x>`) ||
		!strings.Contains(m.Text, "second line ünï üüü") {
		t.Errorf("hostile: subject %q\ntext %s\nhtml %s", m.Subject, m.Text, m.HTML)
	}
	if m := got[2]; m.References != "<er-er-1@example.org>" || !strings.HasPrefix(m.Subject, "Re: [erbridge] HIGH") {
		t.Errorf("references %v, subject %q", m.References, m.Subject)
	}
	if m := got[3]; m.Subject != "[erbridge] Digest: 12 alerts since 08:00" || !strings.Contains(m.Text, "  high: 2\n  medium: 10\n  \n  most: Shadow") {
		t.Errorf("digest: subject %q\n%s", m.Subject, m.Text)
	}
}

// mailJudge runs the mail server of others, which wants the password or, without one, the
// access token. It returns its port, and what it understood.
func mailJudge(t *testing.T, a *authority, password, token string) (port int, said *json.Decoder) {
	t.Helper()
	certificate, key := a.leaf(t)
	cmd := judgeCommand(t, "smtp.cjs")
	cmd.Args = append(cmd.Args, key, certificate, "erbridge", password, token)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_, _ = io.Copy(io.Discard, stdout)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("server: %s", complaints.String())
		}
	})
	said = json.NewDecoder(stdout)
	var ready struct{ Port int }
	if err := said.Decode(&ready); err != nil {
		t.Fatalf("%v: %s", err, complaints.String())
	}
	return ready.Port, said
}

// The same server takes an access token (XOAUTH2), and no other.
func TestEmailOAuthJudge(t *testing.T) {
	a := newAuthority(t)
	for _, token := range []string{"g00d-token", "an0ther-token"} {
		issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"access_token":"`+token+`","token_type":"Bearer","expires_in":3600}`)
		}))
		t.Cleanup(issuer.Close)
		port, said := mailJudge(t, a, "", "g00d-token")
		settings := emailSettings(fmt.Sprintf("127.0.0.1:%d", port), a.file)
		settings.Password, settings.TokenURL, settings.ClientID, settings.ClientSecret = soar.Secret{}, issuer.URL, "app", soar.SecretValue(clientSecret)
		err := closeAfter(t, openEmail(t, settings)).Send(t.Context(), sinktest.Events(1))
		if token != "g00d-token" {
			if sinktest.ClassOf(err) != sinktest.Config || strings.Contains(err.Error(), token) {
				t.Errorf("error %v, want one of the settings without the token", err)
			}
			continue
		}
		var m judgedMail
		if err = errors.Join(err, said.Decode(&m)); err != nil || !m.Secure || m.Subject == "" {
			t.Errorf("mail %+v: %v", m, err)
		}
	}
}
