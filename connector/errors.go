package connector

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// What an error means to the caller. Test with errors.Is.
//
// For calls with an effect the first question is whether it may have happened:
// ErrUncertain says that it may have, ErrConflict that it did and something else came
// of it; every other error says that it did not.
var (
	// ErrRefused means that the server understood the call and said no: HTTP 200
	// with "status": "failure", or HTTP 4xx. Nothing changed, and the same call
	// will be refused again.
	ErrRefused = errors.New("refused by the server")
	// ErrBadCredentials means that user name or password are wrong.
	ErrBadCredentials = errors.New("user name or password is wrong")
	// ErrUnauthorized means that the server took neither the token nor a fresh one.
	ErrUnauthorized = errors.New("token not accepted, even after logging in again")
	// ErrForbidden means that the account's role does not allow the call.
	ErrForbidden = errors.New("the account's role does not allow this")
	// ErrUnavailable means that the server does not have the call: Community
	// servers lack response actions, Defender, notes and process trees, old releases
	// lack what came later. The message names what has it.
	ErrUnavailable = errors.New("not available on this server")
	// ErrNotFound means that there is no such object, or no such path.
	ErrNotFound = errors.New("not found")
	// ErrNotJSON means that something else than the JSON that was due came back,
	// such as a page of the web console or of a proxy.
	ErrNotJSON = errors.New("answer is not the JSON that was due")
	// ErrUncertain means that a call with an effect was sent and its answer lost: it
	// may or may not have happened; or that what it wrote could not be read back.
	ErrUncertain = errors.New("sent, but the answer was lost: it may or may not have happened")
	// ErrNotSent means that a call with an effect surely did nothing and may be
	// sent again later: no connection, or turned away by HTTP 429 or 503.
	ErrNotSent = errors.New("not carried out, may be sent again")
	// ErrEmptyTarget means that a call names no host. Some releases would take
	// that as every host, so it is not sent.
	ErrEmptyTarget = errors.New("no target named")
	// ErrBadArchive means that a carve's download was empty, cut short, or is
	// neither a tar nor a zstd archive.
	ErrBadArchive = errors.New("download is not a whole archive")
	// ErrInvalid means that an argument is not acceptable; nothing was sent.
	ErrInvalid = errors.New("invalid argument")
	// ErrCertificate means that the server's certificate is not the expected one.
	ErrCertificate = errors.New("server certificate is not trusted")
)

// APIError is an answer of the server that is not a success. It wraps one or
// more of the errors above.
type APIError struct {
	Method, Path string
	// Status is the HTTP status. Most refusals have 200.
	Status int
	// Message is the server's own text, one line, at most 1 KiB. It changes from
	// release to release: do not match on it.
	Message string
	// Fields are arguments that the server found wrong, with its complaint.
	Fields map[string]string
	// RetryAfter is what the server asked to wait, zero if it did not.
	RetryAfter time.Duration

	kinds []error
}

// Error names the call, the meaning and the server's text.
func (e *APIError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: ", e.Method, e.Path)
	for i, kind := range e.kinds {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(kind.Error())
	}
	if e.Status != 200 && e.Status != 0 {
		fmt.Fprintf(&b, " (HTTP %d)", e.Status)
	}
	if e.Message != "" {
		fmt.Fprintf(&b, ": %s", e.Message)
	}
	for _, name := range slices.Sorted(maps.Keys(e.Fields)) {
		fmt.Fprintf(&b, "; %s: %s", name, e.Fields[name])
	}
	return b.String()
}

// Unwrap gives what the error means.
func (e *APIError) Unwrap() []error { return e.kinds }

// unavailable is ErrUnavailable with what a server must be to have the call.
type unavailable struct{ call call }

func (u unavailable) Error() string {
	switch {
	case u.call.enterprise && strings.Contains(u.call.releases, " to "): // an Enterprise server may lack it, too
		return ErrUnavailable.Error() + " (" + u.call.releases + ")"
	case u.call.enterprise:
		return ErrUnavailable.Error() + " (Enterprise only)"
	}
	return ErrUnavailable.Error() + " (releases: " + u.call.releases + ")"
}

func (unavailable) Unwrap() error { return ErrUnavailable }

// callError is a call that brought no answer.
type callError struct {
	method, path string
	kind         error // ErrNotSent, ErrUncertain or nil
	err          error
}

func (e *callError) Error() string {
	if e.kind == nil {
		return fmt.Sprintf("%s %s: %v", e.method, e.path, e.err)
	}
	return fmt.Sprintf("%s %s: %v: %v", e.method, e.path, e.kind, e.err)
}

func (e *callError) Unwrap() []error {
	if e.kind == nil {
		return []error{e.err}
	}
	return []error{e.kind, e.err}
}

// oneLine makes text from outside fit for an error message: no control
// characters, at most 1 KiB.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r <= 0x9f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	return clip(strings.Join(strings.Fields(text), " "), 1024)
}

// outcome is the label under which a call is counted.
func outcome(err error) string {
	for _, o := range []struct {
		err  error
		name string
	}{
		{nil, "ok"},
		{ErrUncertain, "uncertain"},
		{ErrNotSent, "not_sent"},
		{ErrBadCredentials, "bad_credentials"},
		{ErrUnauthorized, "unauthorized"},
		{ErrForbidden, "forbidden"},
		{ErrUnavailable, "unavailable"},
		{ErrNotFound, "not_found"},
		{ErrRefused, "refused"},
		{ErrNotJSON, "not_json"},
		{ErrInvalid, "invalid"},
		{ErrEmptyTarget, "invalid"},
		{errServer, "server_error"},
		{context.Canceled, "cancelled"},
	} {
		if errors.Is(err, o.err) {
			return o.name
		}
	}
	return "error"
}
