package sinks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/mail"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// EmailSettings configures an email sink: a mail for each event, in threads by alert.
type EmailSettings struct {
	// Address is the mail server, as host:port. The port may be left out: 587 for
	// starttls, 465 for implicit, 25 for none.
	Address string `yaml:"address" required:"true"`

	// TLS is starttls (begins in the clear and insists on encryption before anything
	// is said), implicit (TLS from the first byte), or none, which only servers on
	// this host get, unless allow_plain_text is set.
	TLS string `yaml:"tls" enum:"starttls,implicit,none"`

	// AllowPlainText permits tls: none for servers on other hosts. Everybody on the
	// way can read and change the mails then; there is no login in that mode.
	AllowPlainText bool `yaml:"allow_plain_text"`

	// Username is the login, where the server wants one.
	Username string `yaml:"username"`

	// Password belongs to username.
	Password soar.Secret `yaml:"password"`

	// TokenURL is where erbridge gets access tokens to log in with in place of a
	// password (OAuth 2.0; XOAUTH2 or OAUTHBEARER). Microsoft 365 has
	// https://login.microsoftonline.com/TENANT/oauth2/v2.0/token, Google
	// https://oauth2.googleapis.com/token.
	TokenURL string `yaml:"token_url"`

	// ClientID is the application that asks for tokens.
	ClientID string `yaml:"client_id"`

	// ClientSecret is the secret of the application.
	ClientSecret soar.Secret `yaml:"client_secret"`

	// RefreshToken is what somebody has allowed the application to do with the mailbox
	// username. Without it the application asks in its own name (client credentials).
	// It has to stay valid: another one that the server gives in exchange is used, but
	// stored nowhere, so that the next start begins with this one again.
	RefreshToken soar.Secret `yaml:"refresh_token"`

	// Scopes are what tokens are asked for: https://outlook.office365.com/.default with
	// Microsoft 365. A refresh token has its own.
	Scopes []string `yaml:"scopes"`

	// From is the sender: soc@example.org, or ERbridge <soc@example.org>.
	From string `yaml:"from" required:"true"`

	// To are the recipients. All stand in the header of each mail.
	To []string `yaml:"to" required:"true"`

	// SubjectPrefix stands in front of each subject, for filters and for eyes.
	SubjectPrefix string `yaml:"subject_prefix"`

	// Hello is the name with which erbridge introduces itself to the server; empty
	// means the name of this host.
	Hello string `yaml:"hello"`

	// Timeout bounds one mail, and the time to connect and log in.
	Timeout time.Duration `yaml:"timeout"`

	TLSSettings `yaml:",inline"`
}

// The values of EmailSettings.TLS.
const (
	emailStartTLS = "starttls"
	emailImplicit = "implicit"
	emailPlain    = "none"
)

// Check implements Checker.
func (s *EmailSettings) Check(report func(setting, hint, format string, args ...any)) {
	host, _, err := s.server()
	if err != nil {
		report("address", "for example mail.example.org:587", "%v", err)
	}
	if _, err := mail.ParseAddress(s.From); err != nil {
		report("from", "for example ERbridge <soc@example.org>", "%q is no mail address", s.From)
	}
	if len(s.To) == 0 {
		report("to", "for example [soc@example.org]", "at least one recipient is needed")
	}
	for _, to := range s.To {
		if _, err := mail.ParseAddress(to); err != nil {
			report("to", "for example [soc@example.org]", "%q is no mail address", to)
		}
	}
	switch {
	case s.TLS == emailPlain && err == nil && !isLoopback(host) && !s.AllowPlainText:
		report("tls address", "allow_plain_text permits it", "without TLS only servers on this host are spoken to")
	case s.TLS == emailPlain && s.Username != "":
		report("tls username", "", "there is no login without TLS")
	}
	if s.TokenURL == "" && (s.Username != "") != s.Password.IsSet() {
		report("username password", "", "username and password go together")
	}
	s.checkOAuth(report)
	if strings.ContainsFunc(s.Hello, func(r rune) bool { return r <= ' ' || r > '~' }) {
		report("hello", "for example erbridge.example.org", "expected a host name")
	}
	checkTimeout(s.Timeout, report)
}

// server splits the address; the port of the mode stands in for a missing one.
func (s *EmailSettings) server() (host, port string, err error) {
	host, port, err = net.SplitHostPort(s.Address)
	if err != nil {
		host, port = strings.Trim(s.Address, "[]"), map[string]string{emailStartTLS: "587", emailImplicit: "465", emailPlain: "25"}[s.TLS]
		if _, addrErr := netip.ParseAddr(host); addrErr != nil && strings.Contains(host, ":") {
			return "", "", fmt.Errorf("%q is not host:port", s.Address)
		}
	}
	if host == "" || strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r > '~' || r == '/' || r == '@' }) {
		return "", "", fmt.Errorf("%q is not host:port", s.Address)
	}
	return host, port, nil
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

func init() {
	Types.Add("email", Type{
		Summary: "Sends events by mail (SMTP), as text and HTML, in threads by alert.",
		Settings: &EmailSettings{
			TLS: emailStartTLS, SubjectPrefix: "[erbridge]", Timeout: 30 * time.Second,
		},
		Example: "type: email\naddress: mail.example.org:587\nusername: erbridge\npassword: {file: /run/secrets/mail-password}\n" +
			"from: ERbridge <erbridge@example.org>\nto: [soc@example.org]\nwhen: .alert.severity | at_least(\"high\")\n",
		MaxBatch: 50, StormUpdate: 5 * time.Minute,
		Events: chatEvents,
		Open: func(_ string, settings any, env Env) (Sink, error) {
			return openEmail(*settings.(*EmailSettings), env)
		},
	})
}

// maxRefusals is how often a mail is tried again for recipients that the server
// refuses for now, when others have got it. A mailbox that is full for days must not
// hold up what the others are waiting for.
const maxRefusals = 3

type email struct {
	settings   EmailSettings
	host, port string
	from       *mail.Address
	to         []*mail.Address
	hello      string
	dial       smtpDialer
	tokens     *bearer // nil where the login has a password, or there is none
	version    string
	log        *slog.Logger
	state      State
	now        func() time.Time

	// Used by Send's goroutine only.
	refusedID string // the event that some recipients were refused for
	refusals  int    // how often
}

func openEmail(s EmailSettings, env Env) (Sink, error) {
	var problems []error
	s.Check(func(_, _, format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) })
	config, err := s.config()
	if err = errors.Join(append(problems, err)...); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	k := &email{settings: s, version: env.Version, log: env.Log, state: env.State, now: env.Now, hello: s.Hello}
	if k.host, k.port, err = s.server(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if config.ServerName == "" {
		config.ServerName = k.host
	}
	if k.from, err = mail.ParseAddress(s.From); err != nil {
		return nil, fmt.Errorf("%w: from: %w", ErrConfig, err)
	}
	for _, text := range s.To {
		to, err := mail.ParseAddress(text)
		if err != nil {
			return nil, fmt.Errorf("%w: to: %w", ErrConfig, err)
		}
		k.to = append(k.to, to)
	}
	if k.hello == "" {
		k.hello = helloName()
	}
	k.dial = smtpDialer{mode: s.TLS, config: config, timeout: s.Timeout}
	if k.log == nil {
		k.log = slog.New(slog.DiscardHandler)
	}
	if k.state == nil {
		k.state = forgetful{}
	}
	if k.now == nil {
		k.now = time.Now
	}
	if s.TokenURL != "" {
		env.Now = k.now
		if k.tokens, err = emailTokens(s, env); err != nil {
			return nil, err
		}
	}
	return k, nil
}

// helloName is this host's name where SMTP takes it, else the one that stands for
// nobody in particular.
func helloName() string {
	name, err := os.Hostname()
	if err != nil || name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "localhost"
	}
	return name
}

// Send mails the events one by one over one connection. What the server refuses for
// good is told apart from what comes behind it; at the first that fails for now, the
// rest waits with it.
func (s *email) Send(ctx context.Context, events []soar.Event) error {
	if len(events) == 0 {
		return nil
	}
	conn, err := s.connect(ctx)
	if err != nil {
		return fmt.Errorf("email: %w", err)
	}
	defer conn.close()
	p := &PartialError{Permanent: map[int]error{}, Transient: map[int]error{}}
	for i := range events {
		err := s.mail(ctx, conn, &events[i])
		if err == nil {
			continue
		}
		err = fmt.Errorf("email: %w", err)
		if len(events) == 1 || i == 0 && errors.Is(err, ErrConfig) {
			return err
		}
		if errors.Is(err, ErrPermanent) || errors.Is(err, ErrTooLarge) {
			p.Permanent[i] = err
			continue
		}
		p.Transient[i] = err
		for j := i + 1; j < len(events); j++ {
			p.Transient[j] = errors.New("email: not tried yet")
		}
		break
	}
	if len(p.Permanent)+len(p.Transient) == 0 {
		return nil
	}
	return p
}

// mail sends one event to all recipients that do not have it yet.
func (s *email) mail(ctx context.Context, conn *smtpConn, ev *soar.Event) error {
	message, err := s.message(ev)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPermanent, err)
	}
	have, err := s.delivered(ctx, ev.ID)
	if err != nil {
		return err
	}
	var to []string
	for _, a := range s.to {
		if !have[a.Address] {
			to = append(to, a.Address)
		}
	}
	if len(to) == 0 {
		return nil
	}
	refused, err := conn.send(ctx, s.from.Address, to, message)
	if err != nil && (len(refused) < len(to) || len(to) == len(s.to)) {
		return err // nobody has it
	}
	return s.settle(ctx, ev.ID, to, refused)
}

// settle decides about recipients that were refused when others were not.
func (s *email) settle(ctx context.Context, id string, to []string, refused map[string]error) error {
	var later []string
	for address, err := range refused {
		if errors.Is(err, ErrPermanent) {
			s.log.Warn("recipient is refused, the others have the mail", "event", id, "recipient", address, "err", err)
			continue
		}
		later = append(later, address)
	}
	if s.refusedID != id {
		s.refusedID, s.refusals = id, 0
	}
	if s.refusals++; len(later) == 0 || s.refusals > maxRefusals {
		for _, address := range later {
			s.log.Warn("recipient is still refused and left out, the others have the mail", "event", id, "recipient", address, "err", refused[address])
		}
		s.refusedID = ""
		return nil
	}
	// What is remembered keeps the next try from mailing to those who have it. A
	// crash here mails to them again, with the same Message-ID.
	for _, address := range to {
		if refused[address] == nil {
			if err := s.state.Set(ctx, sentKey(id, address), "1", keepSent); err != nil {
				return err
			}
		}
	}
	return fmt.Errorf("%d of %d recipients are refused for now: %w", len(later), len(to), refused[later[0]])
}

func sentKey(id, address string) string { return "sent/" + address + "/" + id }

// delivered are the recipients that have an event already.
func (s *email) delivered(ctx context.Context, id string) (map[string]bool, error) {
	have := map[string]bool{}
	for _, to := range s.to {
		_, err := s.state.Get(ctx, sentKey(id, to.Address))
		if err != nil && !errors.Is(err, soar.ErrNotFound) {
			return nil, err
		}
		have[to.Address] = err == nil
	}
	return have, nil
}

// Close has nothing to do: a connection lasts as long as a Send.
func (s *email) Close() error { return nil }
