package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/connector/catalogue"
)

// server is what is known about the server.
type server struct {
	release    string // "2.1.2", "3.5" or "4.0": the newest of those that behave so
	enterprise bool
	v0         bool // has API v0
	loggedIn   bool
}

// speaksV0 reports whether the server is said to have API v0 alone.
func (d *doctor) speaksV0() bool { return d.cfg.Server.API == string(catalogue.V0) }

// base asks what is found at the base path. A configured one is taken as it is by
// the client, so the API has to show itself.
func (d *doctor) base(ctx context.Context) finding {
	const hint = "correct server.url; correct server.base_path, or leave it out to have the path looked for"
	base, err := d.client.Base(ctx)
	if err != nil {
		return failure(err, hint)
	}
	probe := "hosts-count"
	if d.speaksV0() {
		probe = "v0-nodes"
	}
	has, err := d.client.Has(ctx, catalogue.Find(probe))
	switch {
	case err != nil:
		return failure(err, hint)
	case !has:
		return finding{Fail, "what answers at " + base + " is not the API, but a web page", hint}
	}
	return finding{OK, "the API is at " + base, ""}
}

// maxClock is from where on a difference is told: a second comes of the header,
// which has no fraction, a second of the way, and the rest is drift of a day or so.
const maxClock = 5 * time.Second

func (d *doctor) clock(context.Context) finding {
	ahead := d.client.ClockOffset()
	found := "the server's clock says " + d.o.Now().Add(ahead).UTC().Format(time.DateTime) + "Z, as this machine's does"
	if ahead == 0 {
		return finding{OK, found, ""}
	}
	direction := "ahead of"
	if ahead < 0 {
		direction = "behind"
	}
	found = fmt.Sprintf("the server's clock says %sZ, %v %s this machine's", d.o.Now().Add(ahead).UTC().Format(time.DateTime), ahead.Abs().Round(time.Second), direction)
	if ahead.Abs() > maxClock {
		return finding{Warn, found, "set both clocks by NTP; erbridge reckons with the difference, certificates and people do not"}
	}
	return finding{OK, found, ""}
}

func (d *doctor) login(ctx context.Context) finding {
	if err := d.client.Login(ctx); err != nil {
		hint := "look at the log of the server"
		if errors.Is(err, connector.ErrBadCredentials) {
			hint = "correct server.username or what server.password names; accounts of single sign-on cannot log in here"
		}
		return failure(err, hint)
	}
	d.server.loggedIn = true
	found := "logged in as " + d.cfg.Server.Username
	end, ok := d.client.TokenEnd()
	if !ok {
		return finding{OK, found + "; the token does not say until when it is good", ""}
	}
	left := end.Sub(d.o.Now().Add(d.client.ClockOffset()))
	found += fmt.Sprintf("; the token is good until %s (%s)", end.Format(time.DateTime)+"Z", span(left))
	if left < time.Hour {
		return finding{Warn, found, "erbridge logs in again by itself, here very often; look at the clock and the token lifetime of the server"}
	}
	return finding{OK, found, ""}
}

func span(d time.Duration) string {
	if d >= 48*time.Hour {
		return number(int(d.Round(time.Hour).Hours()/24), "day")
	}
	return d.Round(time.Minute).String()
}

// release guesses release and edition from what the server has. There is no call
// that tells them.
func (d *doctor) release(ctx context.Context) finding {
	if d.speaksV0() {
		d.server.release, d.server.v0 = "2.1.2", true
		return finding{OK, "2.x, by its API v0, which the configuration asks for", ""}
	}
	index, err := d.client.Index(ctx)
	if err != nil {
		return failure(err, "look at the log of the server")
	}
	s := &d.server
	if s.enterprise, err = d.client.Has(ctx, catalogue.Find("response-status-all")); err != nil {
		return failure(err, "try again")
	}
	if s.v0, err = d.client.Has(ctx, catalogue.Find("v0-nodes")); err != nil {
		return failure(err, "try again")
	}
	var signs []string
	sign := func(is bool, yes, no string) {
		signs = append(signs, map[bool]string{true: yes, false: no}[is])
	}
	sign(!index.Before35, "/index answers", "no /index")
	switch {
	case index.Before35:
		s.release = "2.1.2"
	case s.v0:
		s.release = "3.5"
	default:
		s.release = "4.0"
	}
	if s.loggedIn && !index.Before35 {
		switch status := d.statusOf(ctx, "options-get"); status {
		case http.StatusGone:
			s.release = "4.0"
			signs = append(signs, "/options is gone (HTTP 410)")
		case http.StatusOK:
			s.release = "3.5"
			signs = append(signs, "/options answers")
		}
	}
	sign(s.enterprise, "/response/status/all is there", "no /response/status/all")
	sign(s.v0, "API v0 too", "no API v0")
	if index.SSO {
		signs = append(signs, "single sign-on is on")
	}
	words := map[string]string{"2.1.2": "2.x", "3.5": "3.5", "4.0": "4.0"}[s.release]
	return finding{OK, fmt.Sprintf("probably %s %s: %s", words, map[bool]string{true: "Enterprise", false: "Community"}[s.enterprise], strings.Join(signs, ", ")), ""}
}

// statusOf is the HTTP status of a reading call, 0 if there was no answer.
func (d *doctor) statusOf(ctx context.Context, id string) int {
	_, err := d.call(ctx, id)
	refusal, refused := errors.AsType[*connector.APIError](err)
	switch {
	case refused:
		return refusal.Status
	case err != nil:
		return 0
	}
	return http.StatusOK
}

// call makes a reading call that takes no arguments.
func (d *doctor) call(ctx context.Context, id string) (connector.InvokeAnswer, error) {
	inv, err := connector.NewInvocation(catalogue.Find(id), nil)
	if err != nil {
		return connector.InvokeAnswer{}, err
	}
	return d.client.Invoke(ctx, inv, nil)
}

func (d *doctor) role(ctx context.Context) finding {
	answer, err := d.call(ctx, "users-get-me")
	switch {
	case errors.Is(err, connector.ErrUnavailable) && d.server.release == "2.1.2":
		return finding{OK, "this release has no roles: every account may do everything", ""}
	case errors.Is(err, connector.ErrUnavailable):
		return finding{Warn, said(err), "look at the account's role in the console of the server"}
	case err != nil:
		return failure(err, "look at the account in the console of the server")
	}
	roles := rolesIn(answer.Body)
	found := "the account's role is " + strings.Join(roles, ", ")
	switch {
	case len(roles) == 0:
		return finding{Warn, "the server does not tell the account's role", "look at the account on the server"}
	case contains(roles, "admin"):
		return finding{OK, found, ""}
	}
	return finding{Warn, found + ", which may not make the calls " + listing(adminCalls(), 6),
		"the role admin is needed to tag hosts and to reopen alerts, which playbooks may do, and to change the server"}
}

// rolesIn reads data.roles, a list of words or words with commas.
func rolesIn(body []byte) (roles []string) {
	var answer struct {
		Data struct {
			Roles any `json:"roles"`
			Role  any `json:"role"`
		} `json:"data"`
	}
	if json.Unmarshal(body, &answer) != nil {
		return nil
	}
	var add func(v any)
	add = func(v any) {
		switch v := v.(type) {
		case string:
			for word := range strings.SplitSeq(v, ",") {
				if word = strings.TrimSpace(word); word != "" {
					roles = append(roles, word)
				}
			}
		case []any:
			for _, item := range v {
				add(item)
			}
		case map[string]any:
			add(v["name"])
		}
	}
	add(answer.Data.Roles)
	add(answer.Data.Role)
	return roles
}

func contains(words []string, want string) bool {
	for _, word := range words {
		if strings.EqualFold(word, want) {
			return true
		}
	}
	return false
}

// adminCalls are the calls that release 4.0 keeps for the role admin.
func adminCalls() (ids []string) {
	for _, s := range catalogue.Sections() {
		for i := range s.Calls {
			if c := &s.Calls[i]; c.Role == "admin" && c.Effect != catalogue.Reads {
				ids = append(ids, c.ID)
			}
		}
	}
	return ids
}
