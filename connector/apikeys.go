package connector

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// APIKeys are the server's keys for threat intelligence. Unset ones are not there.
type APIKeys struct {
	VirusTotal soar.Secret
	AlienVault soar.Secret
	XForceKey  soar.Secret // IBM X-Force
	XForcePass soar.Secret // goes with XForceKey
}

func readAPIKeys(v value) APIKeys {
	return APIKeys{
		VirusTotal: secretOf(v.at(feedVirusTotal).at("key")),
		AlienVault: secretOf(v.at(feedAlienVault).at("key")),
		XForceKey:  secretOf(v.at(feedXForce).at("key")),
		XForcePass: secretOf(v.at(feedXForce).at("pass")),
	}
}

// The feeds, as the server names them.
const (
	feedVirusTotal = "virustotal"
	feedAlienVault = "alienvault"
	feedXForce     = "ibmxforce"
)

// APIKeys fetches the keys. The server gives them in clear to everyone who can log
// in, in every release.
// API: GET /management/apikeys (REST guide 4.0.0, "Get Threat Intel API keys").
func (s *ManagementService) APIKeys(ctx context.Context) (keys APIKeys, err error) {
	err = s.c.do(ctx, callManagementApikeysGet, nil, data(func(v value) { keys = readAPIKeys(v) }))
	return keys, err
}

// KeysUpdate is what became of new keys.
type KeysUpdate struct {
	// Keys are those that the server has now.
	Keys APIKeys
	// Stored and Refused are the feeds of which keys were given: virustotal,
	// alienvault, ibmxforce. Refused has what the server said, which may be nothing.
	Stored  []string
	Refused map[string]string
}

// UpdateAPIKeys sets keys; unset ones stay as they are. The server asks each feed
// whether its key is good and stores those that are, so part of a call may succeed.
// Whether it says success or failure then differs by release; what counts here is
// which keys it has afterwards. If none was stored the error is ErrRefused. It
// needs the admin role in release 4.0.
// API: POST /management/apikeys (REST guide 4.0.0, "Update Threat Intel API keys").
func (s *ManagementService) UpdateAPIKeys(ctx context.Context, keys APIKeys) (out KeysUpdate, err error) {
	k := callManagementApikeysUpdate
	defer s.c.metrics.observe(k.id, time.Now(), &err)
	if s.c.old != nil {
		return out, notInV0(k)
	}
	if keys.XForceKey.IsSet() != keys.XForcePass.IsSet() {
		return out, fmt.Errorf("update keys: %w: X-Force needs key and password together", ErrInvalid)
	}
	in := map[string]any{}
	given := map[string]revealed{} // key by feed
	for _, one := range []struct {
		feed, argument string
		secret         soar.Secret
	}{
		{feedXForce, "IBMxForcePass", keys.XForcePass},
		{feedXForce, "IBMxForceKey", keys.XForceKey},
		{feedVirusTotal, "vt_key", keys.VirusTotal},
		{feedAlienVault, "otx_key", keys.AlienVault},
	} {
		if !one.secret.IsSet() {
			continue
		}
		text, err := reveal("update keys: "+one.argument, one.secret)
		if err != nil {
			return out, err
		}
		in[one.argument], given[one.feed] = text, text
	}
	if len(in) == 0 {
		return out, fmt.Errorf("update keys: %w: no key given", ErrInvalid)
	}
	sent, err := bodyOf(k, in)
	if err != nil {
		return out, err
	}
	a, err := s.c.authorized(ctx, k, sent)
	if err != nil {
		return out, err
	}
	refusal := hideArguments(s.c.judge(k, a, nil), in)
	if refusal != nil && (!good(a.status) || !errors.Is(refusal, ErrRefused)) {
		return out, refusal
	}
	answer, err := parse(a.body)
	if err != nil {
		return out, &callError{method: k.method, path: k.path, kind: ErrUncertain, err: err} // judge has read it a moment ago
	}
	now := answer.at("data")
	out = KeysUpdate{Keys: readAPIKeys(now), Refused: map[string]string{}}
	for feed, text := range given {
		if now.at(feed).at("key").text() == string(text) {
			out.Stored = append(out.Stored, feed)
			continue
		}
		out.Refused[feed] = text.hiddenIn(oneLine(answer.at("errors").at(feed).text()))
	}
	slices.Sort(out.Stored)
	switch {
	case len(out.Stored) > 0:
		return out, nil
	case refusal != nil:
		return out, refusal
	}
	return out, hideArguments(&APIError{Method: k.method, Path: k.path, Status: a.status, Message: oneLine(answer.at("message").text()),
		Fields: out.Refused, kinds: []error{ErrRefused}}, in)
}
