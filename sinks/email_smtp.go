package sinks

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"github.com/wneessen/go-mail/smtp"
)

// goodbye is how long a server may take to answer QUIT.
const goodbye = 2 * time.Second

// smtpDialer connects to a mail server.
type smtpDialer struct {
	mode    string // as EmailSettings.TLS
	config  *tls.Config
	timeout time.Duration
}

// smtpConn is a connection that is ready for mails.
type smtpConn struct {
	client  *smtp.Client
	raw     net.Conn
	timeout time.Duration
	hide    []string // what may not show in an error
	stop    func() bool
}

// smtpLogin is how to log in; the zero value does not.
type smtpLogin struct {
	mechanisms []smtpMechanism // the best first
	hide       []string        // what may not show in an error
}

type smtpMechanism struct {
	name string
	auth smtp.Auth
}

// connect opens a connection, encrypts it and logs in. Its errors say which of them
// failed.
func (s *email) connect(ctx context.Context) (*smtpConn, error) {
	user := s.settings.Username
	switch {
	case s.tokens != nil:
		return s.connectWithToken(ctx)
	case user == "":
		return s.open(ctx, smtpLogin{})
	}
	password, err := s.settings.Password.Reveal()
	if err != nil {
		return nil, fmt.Errorf("%w: password: %w", ErrConfig, err)
	}
	return s.open(ctx, smtpLogin{hide: smtpSecrets(user, password), mechanisms: []smtpMechanism{
		{"SCRAM-SHA-256", smtp.ScramSHA256Auth(user, password)},
		{"PLAIN", smtp.PlainAuth("", user, password, s.host, false)},
		{"LOGIN", smtp.LoginAuth(user, password, s.host, false)},
	}})
}

// open is connect with a login.
func (s *email) open(ctx context.Context, login smtpLogin) (_ *smtpConn, err error) {
	c := &smtpConn{timeout: s.settings.Timeout, hide: login.hide}
	dialer := net.Dialer{Timeout: s.dial.timeout}
	address := net.JoinHostPort(s.host, s.port)
	if c.raw, err = dialer.DialContext(ctx, "tcp", address); err != nil {
		return nil, err
	}
	// net/smtp and its kin know no contexts: what is under way ends with its time.
	c.stop = context.AfterFunc(ctx, func() { _ = c.raw.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if err != nil {
			c.stop()
			_ = c.raw.Close()
		}
	}()
	if err := c.extend(ctx); err != nil {
		return nil, err
	}
	if err := c.begin(ctx, s); err != nil {
		return nil, fmt.Errorf("%s: %w", address, err)
	}
	if len(login.mechanisms) > 0 {
		if err := c.login(login.mechanisms); err != nil {
			return nil, fmt.Errorf("%s: %w: %w", address, errLogin, err)
		}
	}
	return c, nil
}

// begin is everything up to the login.
func (c *smtpConn) begin(ctx context.Context, s *email) (err error) {
	conn := c.raw
	if s.dial.mode == emailImplicit {
		encrypted := tls.Client(c.raw, s.dial.config)
		if err := encrypted.HandshakeContext(ctx); err != nil {
			return judgeDial(err)
		}
		conn = encrypted
	}
	if c.client, err = smtp.NewClient(conn, s.host); err != nil {
		return c.judge(err, "greeting", nil)
	}
	if err := c.client.Hello(s.hello); err != nil {
		return c.judge(err, "EHLO", nil)
	}
	if s.dial.mode != emailStartTLS {
		return nil
	}
	if offered, _ := c.client.Extension("STARTTLS"); !offered {
		return fmt.Errorf("%w: the server offers no STARTTLS; is it tls: implicit on this port?", ErrConfig)
	}
	if err := c.client.StartTLS(s.dial.config); err != nil {
		if _, ok := errors.AsType[*textproto.Error](err); ok {
			return c.judge(err, "STARTTLS", nil)
		}
		return fmt.Errorf("STARTTLS: %w", judgeDial(err))
	}
	return nil
}

// login uses the best of the mechanisms that the server offers. All of them run
// inside TLS: settings without TLS have no login.
func (c *smtpConn) login(mechanisms []smtpMechanism) error {
	_, offered := c.client.Extension("AUTH")
	var names []string
	for _, m := range mechanisms {
		if slices.Contains(strings.Fields(strings.ToUpper(offered)), m.name) {
			return c.judge(c.client.Auth(m.auth), "AUTH "+m.name, ErrConfig)
		}
		names = append(names, m.name)
	}
	return fmt.Errorf("%w: the server offers no login that erbridge can do with these settings (%s), but %q",
		ErrConfig, strings.Join(names, ", "), oneLine(offered, 200))
}

// extend gives the next mail its time.
func (c *smtpConn) extend(ctx context.Context) error {
	if err := c.raw.SetDeadline(time.Now().Add(c.timeout)); err != nil {
		return err
	}
	if ctx.Err() != nil { // after AfterFunc, whose deadline this has undone
		return context.Cause(ctx)
	}
	return nil
}

// send hands over one mail. An error means that none of these recipients has it;
// refused are those that were refused, each with its reason.
//
// Sender and recipients are settings, the same for every event: a server that takes
// none of them pauses the sink. Refusing the content is about this mail alone.
func (c *smtpConn) send(ctx context.Context, from string, to []string, message []byte) (refused map[string]error, err error) {
	if err := c.extend(ctx); err != nil {
		return nil, err
	}
	if err := c.client.Mail(quotePath(from)); err != nil {
		return nil, c.giveUp(c.judge(err, "sender "+from, ErrConfig))
	}
	refused = map[string]error{}
	var reasons []error
	for _, address := range to {
		err := c.client.Rcpt(quotePath(address))
		if err == nil {
			continue
		}
		if _, said := errors.AsType[*textproto.Error](err); !said {
			return nil, c.judge(err, "recipient "+address, nil) // the connection is gone
		}
		refused[address] = c.judge(err, "recipient "+address, ErrPermanent)
		reasons = append(reasons, refused[address])
	}
	if len(refused) == len(to) {
		return refused, c.giveUp(allRefused(reasons))
	}
	w, err := c.client.Data()
	if err != nil {
		return nil, c.giveUp(c.judge(err, "DATA", ErrPermanent))
	}
	if _, err = w.Write(message); err != nil {
		return nil, c.judge(err, "mail", nil)
	}
	if err := w.Close(); err != nil {
		return nil, c.judge(err, "mail", ErrPermanent)
	}
	return refused, nil
}

// allRefused is the error of a mail that no recipient may have: transient when one of
// them may later.
func allRefused(reasons []error) error {
	for _, reason := range reasons {
		if !errors.Is(reason, ErrPermanent) {
			return reason
		}
	}
	return fmt.Errorf("%w: the server takes none of the recipients: %w", ErrConfig, errors.New(reasons[0].Error()))
}

// giveUp ends a transaction, so that the next mail can begin.
func (c *smtpConn) giveUp(err error) error {
	if resetErr := c.client.Reset(); resetErr != nil {
		return errors.Join(err, fmt.Errorf("RSET: %w", resetErr))
	}
	return err
}

// judge is the class of a reply (RFC 5321, section 4.2.1): 4yz passes, 5yz is of the
// given class. 552 and enhanced codes x.3.4 are about the size.
func (c *smtpConn) judge(err error, doing string, permanent error) error {
	if err == nil {
		return nil
	}
	said, ok := errors.AsType[*textproto.Error](err)
	if !ok {
		return fmt.Errorf("%s: %w", doing, c.redact(judgeDial(err)))
	}
	text := fmt.Sprintf("%s: %d %s", doing, said.Code, oneLine(said.Msg, maxExcerptBytes))
	for _, secret := range c.hide {
		text = strings.ReplaceAll(text, secret, "[redacted]")
	}
	switch {
	case said.Code < 500:
		return errors.New(text)
	case errors.Is(permanent, ErrPermanent) && doing == "mail" && (said.Code == 552 || strings.HasPrefix(said.Msg, "5.3.4")):
		return fmt.Errorf("%w: %s", ErrTooLarge, text)
	case said.Code == 530, said.Code == 534, said.Code == 535, said.Code == 538: // RFC 4954, section 6: about the login
		return fmt.Errorf("%w: %s", ErrConfig, text)
	case permanent == nil:
		return fmt.Errorf("%w: %s", ErrConfig, text)
	}
	return fmt.Errorf("%w: %s", permanent, text)
}

// redact takes secrets out of an error that is no reply.
func (c *smtpConn) redact(err error) error {
	for _, secret := range c.hide {
		if strings.Contains(err.Error(), secret) {
			return errors.New("the error has a secret in it and is left out")
		}
	}
	return err
}

// smtpSecrets are the ways in which a password goes over the line.
func smtpSecrets(user, password string) []string {
	if password == "" {
		return nil
	}
	encode := base64.StdEncoding.EncodeToString
	return []string{encode([]byte("\x00" + user + "\x00" + password)), encode([]byte(password)), password}
}

// close says goodbye; what is delivered is delivered, so that failing at it is no
// failure.
func (c *smtpConn) close() {
	if c.stop() { // the context has not ended, and with it the connection
		_ = c.raw.SetDeadline(time.Now().Add(goodbye))
	}
	_ = c.client.Quit()
	_ = c.raw.Close()
}

// quotePath is an address as MAIL and RCPT want it (RFC 5321, section 4.1.2).
func quotePath(address string) string { return (&mail.Address{Address: address}).String() }
