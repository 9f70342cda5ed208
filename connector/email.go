package connector

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/erbridge/erbridge/internal/soar"
)

// EmailService is the section "Email" of the REST guide: how the server sends its
// own mails about alerts.
type EmailService struct{ c *Client }

// EmailSettings are the mail server, the account on it, and who gets the mails.
type EmailSettings struct {
	From     string // address of the sender, which is the account's name too
	Server   string // name of the mail server; empty in an answer: nothing is set
	Port     int
	Password soar.Secret
	To       []string // addresses of the receivers
	// SSL encrypts from the start (port 465), TLS asks for it on the way (587). At
	// most one; releases before 3.5 know neither.
	SSL, TLS bool
}

// Settings fetches the settings. The server gives the password of the mail account
// in clear to everyone who can log in, in every release.
// API: GET /email/configure (REST guide 4.0.0, "Get mail configuration").
func (s *EmailService) Settings(ctx context.Context) (e EmailSettings, err error) {
	err = s.c.do(ctx, callEmailGet, nil, data(func(v value) {
		e = EmailSettings{
			From:     v.at("email").text(),
			Server:   v.at("smtpAddress").text(),
			Port:     v.at("smtpPort").count(),
			Password: secretOf(v.at("password")),
			To:       v.at("emailRecipients").texts(),
			SSL:      v.at("use_ssl").truth(),
			TLS:      v.at("use_tls").truth(),
		}
	}))
	return e, err
}

// Update sets the settings. The server sends a test mail first and is ErrRefused
// when that does not go out. It may wait for the mail server longer than Options.
// Timeout, which ends as ErrUncertain: read Settings to be sure. It needs the admin
// role in release 4.0.
// API: POST /email/configure (REST guide 4.0.0, "Update mail configuration").
func (s *EmailService) Update(ctx context.Context, e EmailSettings) error {
	return s.send(ctx, callEmailUpdate, e)
}

// Test sends a mail with settings that need not be the server's. It waits like
// Update, and needs the admin role in release 4.0.
// API: POST /email/test (REST guide 4.0.0, "Test mail credentials").
func (s *EmailService) Test(ctx context.Context, e EmailSettings) error {
	return s.send(ctx, callEmailTest, e)
}

func (s *EmailService) send(ctx context.Context, k call, e EmailSettings) error {
	in, err := e.body(k.id)
	if err != nil {
		return err
	}
	return s.c.do(ctx, k, in, nil)
}

func (e EmailSettings) body(what string) (map[string]any, error) {
	problems := []error{checkEmail(what+": sender", e.From)}
	wrong := func(text string) { problems = append(problems, fmt.Errorf("%s: %w: %s", what, ErrInvalid, text)) }
	if e.Server == "" || strings.ContainsAny(e.Server, " \t\r\n/") {
		wrong(fmt.Sprintf("mail server %q is not a host name", clip(e.Server, 128)))
	}
	if e.Port < 1 || e.Port > 65535 {
		wrong(fmt.Sprintf("port %d is not between 1 and 65535", e.Port))
	}
	if e.SSL && e.TLS {
		wrong("SSL and TLS exclude each other")
	}
	if len(e.To) == 0 {
		wrong("nobody to send to")
	}
	for _, to := range e.To {
		if strings.Contains(to, ",") { // the server reads a comma list
			wrong(fmt.Sprintf("receiver %q holds a comma", clip(to, 128)))
			continue
		}
		problems = append(problems, checkEmail(what+": receiver", to))
	}
	password, err := reveal(what+": password", e.Password)
	if err := errors.Join(append(problems, err)...); err != nil {
		return nil, err
	}
	return map[string]any{
		"email": e.From, "smtpAddress": e.Server, "smtpPort": strconv.Itoa(e.Port), "password": password,
		"emailRecipients": strings.Join(e.To, ","), "use_ssl": e.SSL, "use_tls": e.TLS,
	}, nil
}
