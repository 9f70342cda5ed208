package actions

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// errOffline means that the host cannot be reached now. Nothing was sent.
var errOffline error = offline{}

type offline struct{}

func (offline) Error() string { return "host is offline" }

// Is lets a call with an effect wait, and one that reads be tried again.
func (offline) Is(target error) bool {
	return target == playbooks.ErrNotNow || target == playbooks.ErrTransient
}

// errSwitchedOff means that the host takes no response actions. Nothing was sent.
var errSwitchedOff = errors.New("response actions are switched off on the host")

// errNoResponse means that the server has no response actions at all. Nothing was sent.
var errNoResponse = fmt.Errorf("response actions are %w (Enterprise only): it is the Community Edition, or its license has none", connector.ErrUnavailable)

// effectError puts the error of a call with an effect into the engine's terms.
// What the client is sure about is definite: it never took effect.
func effectError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, connector.ErrUncertain):
		return fmt.Errorf("%w: %w", playbooks.ErrUncertain, err)
	case errors.Is(err, connector.ErrNotSent):
		return fmt.Errorf("%w: %w", playbooks.ErrTransient, err)
	}
	return inWords(err)
}

// readError puts the error of a reading call into the engine's terms. A read
// may always be tried again, unless the server understood it and said no.
func readError(err error) error {
	if err == nil || definite(err) {
		return inWords(err)
	}
	return fmt.Errorf("%w: %w", playbooks.ErrTransient, err)
}

// definite reports whether asking again would get the same answer.
func definite(err error) bool {
	for _, no := range []error{
		connector.ErrUnavailable, connector.ErrRefused, connector.ErrNotFound, connector.ErrForbidden,
		connector.ErrUnauthorized, connector.ErrBadCredentials, connector.ErrEmptyTarget, connector.ErrInvalid, connector.ErrCertificate,
	} {
		if errors.Is(err, no) {
			return true
		}
	}
	answer, ok := errors.AsType[*connector.APIError](err)
	return ok && answer.Status >= 400 && answer.Status < 500 &&
		answer.Status != http.StatusTooManyRequests && answer.Status != http.StatusRequestTimeout
}

// inWords makes the server's answer that there is no such object known to the engine.
func inWords(err error) error {
	if errors.Is(err, connector.ErrNotFound) {
		return absent{err}
	}
	return err
}

// absent is an error that is soar.ErrNotFound as well.
type absent struct{ error }

func (a absent) Unwrap() error { return a.error }

func (absent) Is(target error) bool { return target == soar.ErrNotFound }
