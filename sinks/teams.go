package sinks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// TeamsSettings configures a teams sink: a card in a channel or chat of Microsoft
// Teams for each event.
type TeamsSettings struct {
	// URL is the address of a workflow that begins with "When a Teams webhook request
	// is received". It holds its own signature, so all of it is a secret. Addresses
	// of Office 365 connectors (webhook.office.com) do not work any more.
	URL soar.Secret `yaml:"url" required:"true"`

	// Interval is the least time between two cards, of all sinks with the same url. Teams
	// takes four a second.
	Interval time.Duration `yaml:"interval"`

	// Timeout bounds one request, including the dial.
	Timeout time.Duration `yaml:"timeout"`

	TLSSettings `yaml:",inline"`
}

// Check implements Checker.
func (s *TeamsSettings) Check(report func(setting, hint, format string, args ...any)) {
	if s.Interval < 0 {
		report("interval", "", "expected 0 or more")
	}
	checkTimeout(s.Timeout, report)
}

func init() {
	Types.Add("teams", Type{
		Summary:  "Posts cards to Microsoft Teams, through a workflow.",
		Settings: &TeamsSettings{Interval: 250 * time.Millisecond, Timeout: 20 * time.Second},
		Example:  "type: teams\nurl: {file: /run/secrets/teams-workflow}\nwhen: .alert.severity | at_least(\"high\")\n",
		MaxBatch: 1, StormUpdate: time.Minute,
		Events: chatEvents,
		Open: func(_ string, settings any, env Env) (Sink, error) {
			return openTeams(*settings.(*TeamsSettings), env)
		},
	})
}

type teams struct {
	settings TeamsSettings
	client   *http.Client
	agent    string
	version  string
	log      *slog.Logger
	now      func() time.Time
	paces    *Paces
}

func openTeams(s TeamsSettings, env Env) (Sink, error) {
	client, err := newHTTPClient(s.TLSSettings, s.Timeout)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	k := &teams{
		settings: s, client: client, agent: userAgent(env), version: env.Version, log: env.Log, now: env.Now,
		paces: env.pacesOrOwn(),
	}
	if k.log == nil {
		k.log = slog.New(slog.DiscardHandler)
	}
	if k.now == nil {
		k.now = time.Now
	}
	return k, nil
}

// Send posts the events one by one, at the pace that Teams allows. Teams knows no
// ids: a card whose answer was lost is posted again.
func (s *teams) Send(ctx context.Context, events []soar.Event) error {
	for i := range events {
		if err := s.post(ctx, &events[i]); err != nil {
			return rest(i, len(events), fmt.Errorf("teams: %w", err))
		}
	}
	return nil
}

// address reads the secret at use, so that a new one is seen.
func (s *teams) address() (*url.URL, error) {
	text, err := s.settings.URL.Reveal()
	if err != nil {
		return nil, fmt.Errorf("%w: url: %w", ErrConfig, err)
	}
	u, err := parseURL(strings.TrimSpace(text))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if host := u.Hostname(); host == "outlook.office.com" || strings.HasSuffix(host, "webhook.office.com") {
		return nil, fmt.Errorf("%w: url: this is the address of an Office 365 connector, which does not work any more; make a workflow "+
			"that begins with \"When a Teams webhook request is received\"", ErrConfig)
	}
	return u, nil
}

func (s *teams) post(ctx context.Context, ev *soar.Event) error {
	u, err := s.address()
	if err != nil {
		return err
	}
	body, err := teamsMessage(ev, s.version)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPermanent, err)
	}
	if err := s.paces.wait(ctx, paceOf(u.String(), ""), s.settings.Interval); err != nil {
		return err
	}
	req, err := newPost(ctx, u.String(), "application/json", body, false, s.agent)
	if err != nil {
		return fmt.Errorf("%w: url cannot be read as a URL", ErrConfig)
	}
	reply, err := exchange(s.client, req, maxReplyBytes, secretParts(u)...)
	if errors.Is(err, errReplyLost) {
		// The status says that the workflow has begun; a repeat would be a second card.
		s.log.Warn("reply broke off after its status, the card counts as delivered", "event", ev.ID, "err", err)
		return nil
	}
	if err != nil {
		return err
	}
	return reply.judge(s.now())
}

// Close drops idle connections.
func (s *teams) Close() error {
	s.client.CloseIdleConnections()
	return nil
}
