package daemon

import (
	"context"
	"net"
	"os/user"
	"reflect"
	"strconv"

	"github.com/erbridge/erbridge/internal/soar"
)

// Who gives an order says his name, and nobody can check it: whoever reaches the socket
// is trusted. The system knows which user that is, so orders are kept with both.

type peerKey struct{}

// withPeer notes who is at the other end of a connection.
func withPeer(ctx context.Context, conn net.Conn) context.Context {
	if u, ok := peerOf(conn); ok {
		return context.WithValue(ctx, peerKey{}, u)
	}
	return ctx
}

// sign puts the user behind a call to every name of a person in it.
func (c *controlCall) sign(ctx context.Context) {
	c.Vote.User = nil // nobody vouches for what the other side says of itself
	if u, ok := ctx.Value(peerKey{}).(soar.SystemUser); ok {
		c.Vote.User = &u
		signNames(reflect.ValueOf(c).Elem(), u)
	}
}

// signNames signs all texts called By, at any depth. A vote keeps its name apart, since
// that has to be one of those who may decide.
func signNames(v reflect.Value, u soar.SystemUser) {
	for i := range v.NumField() {
		field, name := v.Field(i), v.Type().Field(i).Name
		switch {
		case field.Type() == reflect.TypeFor[soar.Vote]() || !field.CanSet():
		case field.Kind() == reflect.Struct:
			signNames(field, u)
		case name == "By" && field.Kind() == reflect.String && field.String() != "":
			field.SetString(soar.Signed(field.String(), u))
		}
	}
}

// SignedHere is the name that somebody gives who runs this process, with the user behind.
func SignedHere(name string) string {
	if u, ok := ownUser(); ok && name != "" {
		return soar.Signed(name, u)
	}
	return name
}

// systemUser looks up how a user is called.
func systemUser(uid int64) soar.SystemUser {
	u := soar.SystemUser{UID: uid}
	if known, err := user.LookupId(strconv.FormatInt(uid, 10)); err == nil {
		u.Name = known.Username
	}
	return u
}
