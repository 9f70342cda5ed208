package connector

import (
	"context"
	"fmt"

	"github.com/erbridge/erbridge/internal/soar"
)

// V0Service is API v0, which the releases 2.0 to 3.5 have: all of its calls, one
// method each. It works beside the services of API v1 on servers that have both.
//
// A server of the 2.x line has nothing else. Options.API "v0" makes the services
// that have the same names everywhere (Hosts, Alerts, Queries, Carves, Rules,
// Responses) work there, too; this service is for what they leave out.
//
// What API v0 calls nodes are hosts. Its lists have no pages.
type V0Service struct{ c *Client }

// Login makes the call and returns the token, which this client does not use: it
// logs in by itself. A wrong password is ErrBadCredentials.
// API v0: POST /login (guide of API v0, "Login").
func (s *V0Service) Login(ctx context.Context, username string, password soar.Secret) (token soar.Secret, err error) {
	text, err := password.Reveal()
	if err != nil {
		return token, fmt.Errorf("login: password: %w", err)
	}
	var got string
	err = s.c.do(ctx, callV0Login, map[string]any{"username": username, "password": text}, func(answer value) { got = readToken(answer) })
	if err == nil && (got == "" || !validHeader(got)) {
		err = fmt.Errorf("login as %q: %w: the answer holds no token", clip(username, 64), ErrNotJSON)
	}
	if err != nil {
		return token, err
	}
	return soar.SecretValue(got), nil
}

// Logout revokes the token that this client uses; its next call logs in again.
// API v0: POST /logout (public source of release 2.1.2).
func (s *V0Service) Logout(ctx context.Context) error {
	err := s.c.do(ctx, callV0Logout, nil, nil)
	if err == nil {
		s.c.session.forget()
	}
	return err
}

// ChangePassword changes the password of the client's account. The client goes on
// logging in with the one it was made with.
// API v0: POST /changepw (public source of release 2.1.2).
func (s *V0Service) ChangePassword(ctx context.Context, from, to soar.Secret) error {
	old, err := from.Reveal()
	if err != nil {
		return fmt.Errorf("change password: old password: %w", err)
	}
	fresh, err := to.Reveal()
	if err != nil {
		return fmt.Errorf("change password: new password: %w", err)
	}
	if fresh == "" {
		return fmt.Errorf("change password: %w: the new password is empty", ErrInvalid)
	}
	return s.c.do(ctx, callV0Changepw, map[string]any{"old_password": old, "new_password": fresh, "confirm_new_password": fresh}, nil)
}
