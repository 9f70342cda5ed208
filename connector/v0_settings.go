package connector

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/erbridge/erbridge/internal/soar"
)

// ConfigureEmail sets how the server sends mails, and returns what it has now. The
// server tries nothing, knows neither SSL nor TLS as settings, and gives the
// password back.
// API v0: POST /email/configure (guide of API v0, "Configure email sender and
// recipients for alerts").
func (s *V0Service) ConfigureEmail(ctx context.Context, e EmailSettings) (EmailSettings, error) {
	in, err := v0Email("configure e-mail", e)
	if err != nil {
		return EmailSettings{}, err
	}
	in["emailRecipients"] = e.To // a list, where v1 has a comma text
	return v0One(ctx, s, callV0EmailConfigure, in, readV0Email)
}

// readV0Email reads settings. The password is base64 with line ends.
func readV0Email(v value) (EmailSettings, error) {
	if !v.isObject() {
		return EmailSettings{}, errNotObject
	}
	e := EmailSettings{
		From: v.at("email").text(), Server: v.at("smtpAddress").text(), Port: v.at("smtpPort").count(), To: v.at("emailRecipients").texts(),
	}
	if text := v.at("password").text(); text != "" {
		if plain, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), "")); err == nil {
			text = string(plain)
		}
		e.Password = soar.SecretValue(text)
	}
	return e, nil
}

// TestEmail sends a mail with settings that need not be the server's. The port
// cannot be chosen; that of e is not sent.
// API v0: POST /email/test (public source of release 2.1.2).
func (s *V0Service) TestEmail(ctx context.Context, e EmailSettings) error {
	in, err := v0Email("test e-mail", e)
	if err != nil {
		return err
	}
	return s.c.do(ctx, callV0EmailTest, map[string]any{
		"username": in["email"], "smtp": in["smtpAddress"], "password": in["password"], "recipients": strings.Join(e.To, ","),
	}, nil)
}

func v0Email(what string, e EmailSettings) (map[string]any, error) {
	if e.SSL || e.TLS {
		return nil, fmt.Errorf("%s: %w: API v0 knows neither SSL nor TLS", what, ErrInvalid)
	}
	in, err := e.body(what)
	if err != nil {
		return nil, err
	}
	delete(in, "use_ssl")
	delete(in, "use_tls")
	return in, nil
}

// APIKeys fetches the keys for threat intelligence, which the server gives in clear.
// API v0: GET /apikeys (public source of release 2.1.2).
func (s *V0Service) APIKeys(ctx context.Context) (keys APIKeys, err error) {
	err = s.c.do(ctx, callV0ApikeysGet, nil, data(func(v value) { keys = readAPIKeys(v) }))
	return keys, err
}

// SetAPIKeys sets keys; unset ones stay as they are. It returns those that the server
// has now. Nothing checks whether a feed takes them.
// API v0: POST /apikeys (public source of release 2.1.2).
func (s *V0Service) SetAPIKeys(ctx context.Context, keys APIKeys) (now APIKeys, err error) {
	const what = "set keys"
	if keys.XForceKey.IsSet() != keys.XForcePass.IsSet() {
		return now, fmt.Errorf("%s: %w: X-Force needs key and password together", what, ErrInvalid)
	}
	in := map[string]any{}
	for argument, secret := range map[string]soar.Secret{
		"vt_key": keys.VirusTotal, "otx_key": keys.AlienVault, "IBMxForceKey": keys.XForceKey, "IBMxForcePass": keys.XForcePass,
	} {
		if !secret.IsSet() {
			continue
		}
		if in[argument], err = reveal(what+": "+argument, secret); err != nil {
			return now, err
		}
	}
	if len(in) == 0 {
		return now, fmt.Errorf("%s: %w: no key given", what, ErrInvalid)
	}
	err = s.c.do(ctx, callV0ApikeysSet, in, data(func(v value) { now = readAPIKeys(v) }))
	return now, err
}

// AddOptions replaces the options of all agents, in spite of its name: what options
// does not have is gone. It needs the consent ReplaceEverything.
// API v0: POST /options/add (public source of release 2.1.2).
func (s *V0Service) AddOptions(ctx context.Context, options map[string]json.RawMessage, consent Consent) error {
	const what = "set options"
	if err := consent.must(ReplaceEverything, what); err != nil {
		return err
	}
	if len(options) == 0 {
		return fmt.Errorf("%s: %w: there are none; agents would be left without any", what, ErrInvalid)
	}
	return s.c.do(ctx, callV0OptionsAdd, map[string]any{"option": options}, nil)
}
