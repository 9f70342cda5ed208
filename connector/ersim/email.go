package ersim

import (
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
)

// emailState is the state behind the e-mail settings.
type emailState struct {
	settings *mailSettings // nil until somebody sets them
	sent     []Mail
}

type mailSettings struct {
	from, server, password string
	port                   int64
	recipients             []string
	ssl, tls               bool
}

// Mail is a mail that the server sent.
type Mail struct {
	Server string // name of the mail server
	From   string
	To     []string
}

// Mails are the last mails that the server sent, oldest first: one for each test
// of mail settings that went well.
func (s *Server) Mails() []Mail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.email.sent)
}

// emailTable lists the calls around the e-mail settings.
func (s *Server) emailTable() []route {
	const admin = needToken | needAdmin
	return []route{
		{"email-test", "POST", "/email/test", admin, s.emailTest, nil},
		{"email-get", "GET", "/email/configure", needToken, s.emailGet, nil},
		{"email-update", "POST", "/email/configure", admin, s.emailUpdate, nil},
	}
}

// readMail reads the arguments, or says why it cannot.
func (s *Server) readMail(c *call) (*mailSettings, *answer) {
	c.need("email", "from email")
	c.need("smtpPort", "smtp port")
	c.need("smtpAddress", "smtp address")
	c.need("password", "password")
	c.need("emailRecipients", "email recipients")
	ssl, tls := c.flag("use_ssl", "ssl"), c.flag("use_tls", "tls")
	if bad := s.invalid(c.args); bad != nil {
		return nil, bad
	}
	port, err := strconv.ParseInt(strings.TrimSpace(c.text("smtpPort")), 10, 64)
	if err != nil {
		crash := s.crash()
		return nil, &crash
	}
	m := &mailSettings{
		from: c.text("email"), server: c.text("smtpAddress"), password: c.text("password"), port: port,
		ssl: ssl != nil && *ssl, tls: tls != nil && *tls,
	}
	if text := c.text("emailRecipients"); text != "" {
		m.recipients = strings.Split(text, ",")
	}
	return m, nil
}

// send sends a test mail. It arrives unless a name cannot exist (RFC 2606), an
// address is none, the port is none, or both ways to encrypt are asked for.
func (s *Server) sendTestMail(m *mailSettings) bool {
	for _, address := range append([]string{m.from}, m.recipients...) {
		if !emailForm.MatchString(address) {
			return false
		}
	}
	if len(m.recipients) == 0 || m.server == "" || strings.HasSuffix(m.server, ".invalid") || m.port < 1 || m.port > 65535 || m.ssl && m.tls {
		return false
	}
	const kept = 100
	if len(s.email.sent) == kept {
		s.email.sent = slices.Delete(s.email.sent, 0, 1)
	}
	s.email.sent = append(s.email.sent, Mail{Server: m.server, From: m.from, To: slices.Clone(m.recipients)})
	return true
}

const mailRefused = "Please check the smtp settings and credentials provided"

// API: POST /email/test.
func (s *Server) emailTest(c *call) answer {
	m, bad := s.readMail(c)
	if bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.sendTestMail(m) {
		return s.fail(mailRefused)
	}
	return s.ok("Successfully sent the email to recipients for the existing configuration!", nil)
}

// API: GET /email/configure, the password in clear.
func (s *Server) emailGet(*call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	const fetched = "Successfully fetched the email configuration"
	if s.email.settings == nil {
		return s.ok(fetched, obj{})
	}
	return s.ok(fetched, s.mailObject(s.email.settings.password))
}

func (s *Server) mailObject(password string) obj {
	m := s.email.settings
	out := obj{
		"email": m.from, "smtpAddress": m.server, "smtpPort": m.port, "password": password, "emailRecipients": textList(m.recipients),
	}
	if s.profile.v4 {
		out["use_ssl"], out["use_tls"] = m.ssl, m.tls
	}
	return out
}

// API: POST /email/configure. The answer has the password as it is stored: in
// base64, with the newline of Python's encoder.
func (s *Server) emailUpdate(c *call) answer {
	m, bad := s.readMail(c)
	if bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.sendTestMail(m) {
		return s.fail(mailRefused)
	}
	s.email.settings = m
	s.record(c.user, "updated", item{"Settings", settingIDs["email"], "plgx_config_all_settings"})
	return s.ok("Successfully updated the email settings!", s.mailObject(base64.StdEncoding.EncodeToString([]byte(m.password))+"\n"))
}
