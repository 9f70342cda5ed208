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
	text, err := reveal("login: password", password)
	if err != nil {
		return token, err
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

// ChangePassword changes the password of the client's account, which the client has
// to be made with anew afterwards.
// API v0: POST /changepw (public source of release 2.1.2).
func (s *V0Service) ChangePassword(ctx context.Context, p PasswordChange) error {
	return s.c.changePassword(ctx, callV0Changepw, p)
}

// v0Page makes a call that answers with a whole list. Lists that are empty have no
// data at all in some releases.
func v0Page[T any](ctx context.Context, s *V0Service, k call, in any, row func(value) (T, error)) (page Page[T], err error) {
	odd := false
	err = s.c.do(ctx, k, in, data(func(v value) {
		page = rows(v, row)
		odd = page.Results == nil && v.raw() != nil
	}))
	switch {
	case err == nil && odd:
		err = lacking(k, noList)
	case err == nil && page.Results == nil:
		page.Results = []T{}
	}
	return page, err
}

// v0One makes a call that answers with one object, which must be whole.
func v0One[T any](ctx context.Context, s *V0Service, k call, in any, row func(value) (T, error)) (one T, err error) {
	found := false
	err = s.c.do(ctx, k, in, data(func(v value) {
		var odd error
		one, odd = row(v)
		found = odd == nil
	}))
	switch {
	case err == nil && !found && k.byID:
		err = missing(k)
	case err == nil && !found:
		err = lacking(k, "the answer holds no object")
	}
	if err != nil {
		return *new(T), err
	}
	return one, nil
}

// made makes a call that answers with the id of what it made, beside status, below
// data, or as data, as text or as number.
func (s *V0Service) made(ctx context.Context, k call, in any, key string) (id int64, err error) {
	err = s.c.do(ctx, k, in, func(answer value) {
		for _, v := range []value{answer.at(key), answer.at("data").at(key), answer.at("data")} {
			if id == 0 {
				id = v.id()
			}
		}
	})
	if err == nil && id == 0 {
		err = lacking(k, "the answer holds no id")
	}
	return id, err
}
